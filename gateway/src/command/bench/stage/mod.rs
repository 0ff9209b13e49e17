//! What a scenario stands on: the installation that is measured, its partners, and who watches.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pabal_gateway::trial::site::{Site, login};

use super::books::{Books, told_of};
use super::load::Outbox;
use super::load::letter::OWN_SENDER;
use super::load::line::Target;
use super::measure::meter::Watched;
use super::order::{Place, Remote};
use super::report::progress::Progress;
use super::sink::Sink;
use super::witness::{Mark, Witness};

mod house;

pub(super) use house::House;

/// The most results in a webhook that a partner can ask for.
const LARGEST_WEBHOOK: u16 = 100;
/// How often it is looked whether everything was told.
const LOOK: Duration = Duration::from_millis(20);
/// When nothing more was told for so long, nothing more is waited for.
const SILENCE: Duration = Duration::from_secs(45);
/// What is called after this process in tables.
const OURSELVES: &str = "load, vendors and partner";

/// What a scenario wants to find.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// How many partners; each has an endpoint of its own.
    pub(super) partners: usize,
    /// The most results in one webhook.
    pub(super) webhook_batch: u16,
    /// Settings of the services that differ from the product's own.
    pub(super) settings: &'static [(&'static str, &'static str)],
}

impl Needs {
    /// One partner, whose webhooks tell up to a hundred results; the product's own settings.
    pub(super) const USUAL: Self = Self {
        partners: 1,
        webhook_batch: LARGEST_WEBHOOK,
        settings: &[],
    };
}

/// Everything a scenario stands on.
pub(super) struct Stage {
    /// What was started here; nothing if an installation elsewhere is measured.
    pub(super) house: Option<House>,
    /// The partners, logged in.
    pub(super) partners: Vec<Partner>,
    /// Who watches vendors and endpoints; sees nothing of an installation elsewhere.
    pub(super) witness: Arc<Witness>,
    /// The sender number of every message.
    pub(super) from: String,
    /// What is told while it runs.
    pub(super) progress: Progress,
}

/// A partner, logged in.
pub(super) struct Partner {
    /// What it is called.
    pub(super) name: String,
    /// Where it sends, as itself.
    pub(super) targets: Vec<Target>,
    /// Where it asks what became of its messages, as itself; nowhere in an installation elsewhere.
    pub(super) desks: Vec<Target>,
    /// Its endpoint, if it is ours.
    pub(super) sink: Option<Sink>,
}

impl Partner {
    /// How many webhooks came to it so far.
    pub(super) fn webhooks(&self) -> usize {
        self.sink.as_ref().map_or(0, Sink::webhooks)
    }
}

/// What is needed to set a stage.
pub(super) struct Setting<'a> {
    /// Where everything is kept.
    pub(super) folder: &'a Path,
    /// What starts private back-ends.
    pub(super) script: &'a Path,
    /// Settings from the command line, for the services.
    pub(super) settings: &'a [(String, String)],
    /// Messages a second that each route carries, if that is to be a limit.
    pub(super) tps: Option<u32>,
    /// What the scenario wants to find.
    pub(super) needs: Needs,
    /// What is told meanwhile.
    pub(super) progress: Progress,
}

impl Stage {
    /// Starts what is to be measured, or logs in where it is.
    pub(super) async fn set(place: &Place, setting: Setting<'_>) -> anyhow::Result<Self> {
        if let Place::Against(remote) = place {
            return Self::elsewhere(remote, setting.progress).await;
        }
        let witness = Arc::new(Witness::default());
        let house = House::start(place, &setting, Arc::clone(&witness)).await?;
        let mut stage = Self {
            house: None,
            partners: Vec::new(),
            witness,
            from: OWN_SENDER.to_owned(),
            progress: setting.progress,
        };
        for number in 1..=setting.needs.partners {
            let name = format!("bench-{number}");
            let partner = stage.add_partner(&house, &name, setting.needs).await?;
            stage.partners.push(partner);
        }
        stage.house = Some(house);
        Ok(stage)
    }

    async fn elsewhere(remote: &Remote, progress: Progress) -> anyhow::Result<Self> {
        let base = remote.url.trim_end_matches('/');
        let client = Site::client()?;
        let token = login(&client, base, &remote.client_id, &remote.client_secret).await?;
        let partner = Partner {
            name: remote.client_id.clone(),
            targets: vec![Target::new(base, &token).await?],
            desks: Vec::new(),
            sink: None,
        };
        Ok(Self {
            house: None,
            partners: vec![partner],
            witness: Arc::default(),
            from: remote.from.clone(),
            progress,
        })
    }

    async fn add_partner(
        &self,
        house: &House,
        name: &str,
        needs: Needs,
    ) -> anyhow::Result<Partner> {
        let sink = Sink::open(Arc::clone(&self.witness)).await?;
        let credentials = house
            .program
            .add_partner(name, sink.url(), needs.webhook_batch)?;
        sink.trust(credentials.webhook_secret);
        let (id, secret) = (&credentials.client_id, &credentials.client_secret);
        let receivers = house.cluster.bases("receiver");
        let receiver = receivers.first().context("there is no receiver")?;
        let token = login(&house.client, receiver, id, secret).await?;
        let desks = house.cluster.bases("reporter");
        Ok(Partner {
            name: name.to_owned(),
            targets: each(&receivers, &token).await?,
            desks: each(&desks, &token).await?,
            sink: Some(sink),
        })
    }

    /// The partner of scenarios that need one alone.
    pub(super) fn first_partner(&self) -> anyhow::Result<&Partner> {
        self.partners.first().context("there is no partner")
    }

    /// What makes the client ids of one load different from those of any other.
    pub(super) fn mark(&self) -> String {
        format!("b{:08x}", fastrand::u32(..))
    }

    /// The processes whose time and memory are measured.
    pub(super) fn watched(&self) -> Vec<Watched> {
        let own = Watched {
            name: OURSELVES.to_owned(),
            pid: std::process::id(),
        };
        let house = self.house.as_ref().map(House::watched);
        house.into_iter().flatten().chain([own]).collect()
    }

    /// Waits until the partners were told the end of each of these messages; not for ever, if nothing
    /// more comes. Of an installation elsewhere nothing is seen, so nothing is waited for.
    pub(super) async fn await_told(&self, accepted: &[u64]) {
        if self.house.is_none() {
            return;
        }
        let line = || format!("{} of {} told", self.witness.told.len(), accepted.len());
        self.progress
            .during(self.told_or_silent(accepted), line)
            .await;
    }

    async fn told_or_silent(&self, accepted: &[u64]) {
        // Some may be told twice, so that more marks are needed than there are messages.
        let mut wanted = accepted.len();
        let mut seen = (self.witness.told.len(), Instant::now());
        loop {
            let marks = self.witness.told.len();
            if marks >= wanted {
                let told = told_of(accepted, &ids(&self.witness.told.so_far()));
                if told == accepted.len() {
                    return;
                }
                wanted = marks + accepted.len() - told;
            }
            if marks > seen.0 {
                seen = (marks, Instant::now());
            }
            if seen.1.elapsed() > SILENCE {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Compares what these loads were promised with what was seen, and asks `pabal reconcile`.
    pub(super) async fn close(&self, outboxes: &[&Outbox]) -> anyhow::Result<Books> {
        let accepted: Vec<u64> = outboxes.iter().flat_map(|outbox| outbox.ids()).collect();
        let faults = outboxes.iter().flat_map(|outbox| outbox.faults.clone());
        let mut books = match &self.house {
            None => Books::of_promises(&accepted),
            Some(house) => {
                let taken = ids(&self.witness.taken.so_far());
                let told = ids(&self.witness.told.so_far());
                let mut books = Books::compare(&accepted, &taken, &told);
                books.complaints.extend(self.witness.complaints());
                books.complaints.extend(house.complaints().await?);
                books
            }
        };
        books.complaints.extend(faults);
        Ok(books)
    }

    /// Stops everything; what was wrong over all runs.
    pub(super) async fn strike(self) -> Vec<String> {
        match self.house {
            Some(house) => house.strike().await,
            None => Vec::new(),
        }
    }
}

/// A target at each of these.
async fn each(bases: &[String], token: &str) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for base in bases {
        targets.push(Target::new(base, token).await?);
    }
    Ok(targets)
}

/// The ids of marks, one for each.
fn ids(marks: &[Mark]) -> Vec<u64> {
    marks.iter().map(|mark| mark.id).collect()
}
