//! What runs in a process, and in which order it stops.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often it is seen whether a tenant ended by itself.
const LOOK: Duration = Duration::from_millis(200);

/// Where a tenant belongs. Floors stop one after the other, in the order of the flow, so that each
/// part can still hand on what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// What lets work in: HTTP, calls to vendors, polling.
    Intake,
    /// What carries it to an end: commits, reports, webhooks.
    Work,
    /// The ways out: the relay, and what everybody needs to the last.
    Exits,
}

impl Floor {
    /// In the order in which they stop.
    const ALL: [Self; 3] = [Self::Intake, Self::Work, Self::Exits];

    /// Its part of the time a stop may take, in hundredths.
    const fn share(self) -> u32 {
        match self {
            Self::Intake => 55,
            Self::Work => 25,
            Self::Exits => 10,
        }
    }
}

/// The part of a stop that is left for leaving the ledger and closing the storage.
const DEPARTURE_SHARE: u32 = 10;

/// How long leaving may take when a whole stop takes `deadline`.
pub(super) fn departure(deadline: Duration) -> Duration {
    deadline * DEPARTURE_SHARE / 100
}

/// Everything that runs.
#[derive(Debug, Default)]
pub(super) struct House {
    tenants: Vec<(Floor, Tenant)>,
}

/// Something that runs, and what stops it. Dropped, it ends at once.
#[derive(Debug)]
struct Tenant {
    name: &'static str,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl House {
    /// Starts a tenant, which runs until its token is cancelled, and not less long.
    pub(super) fn settle<F>(
        &mut self,
        floor: Floor,
        name: &'static str,
        run: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(run(stop.clone())));
        self.tenants.push((floor, Tenant { name, stop, task }));
    }

    /// The name of the first tenant that ends by itself.
    pub(super) async fn first_ended(&self) -> &'static str {
        loop {
            let mut tenants = self.tenants.iter().map(|(_, tenant)| tenant);
            if let Some(ended) = tenants.find(|tenant| tenant.task.is_finished()) {
                return ended.name;
            }
            sleep(LOOK).await;
        }
    }

    /// Stops floor by floor. What does not end in its floor's part of `deadline` is given up: what
    /// it had is in the ledger, and whoever comes next goes on from there.
    pub(super) async fn stop(self, deadline: Duration) {
        let mut tenants = self.tenants;
        for floor in Floor::ALL {
            let here = tenants.extract_if(.., |(home, _)| *home == floor);
            let here = here.map(|(_, tenant)| tenant).collect();
            stop_together(here, deadline * floor.share() / 100).await;
        }
    }
}

async fn stop_together(tenants: Vec<Tenant>, limit: Duration) {
    for tenant in &tenants {
        tenant.stop.cancel();
    }
    let until = Instant::now() + limit;
    for Tenant { name, mut task, .. } in tenants {
        match timeout_at(until, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(service = name, %error, "a service failed"),
            Err(_) => tracing::warn!(service = name, "a service did not drain in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A tenant that notes when it is told to stop and when it has stopped.
    fn settle(house: &mut House, floor: Floor, name: &'static str, said: &Arc<Mutex<Vec<String>>>) {
        let said = Arc::clone(said);
        house.settle(floor, name, |stop| async move {
            stop.cancelled().await;
            said.lock().unwrap().push(format!("{name} is asked"));
            tokio::task::yield_now().await;
            said.lock().unwrap().push(format!("{name} ended"));
        });
    }

    #[tokio::test]
    async fn a_floor_is_asked_to_stop_when_the_one_before_has_ended() {
        let (mut house, said) = (House::default(), Arc::default());
        settle(&mut house, Floor::Exits, "relay", &said);
        settle(&mut house, Floor::Work, "reporter", &said);
        settle(&mut house, Floor::Intake, "http", &said);
        settle(&mut house, Floor::Intake, "sender", &said);
        house.stop(LONG).await;
        let said = said.lock().unwrap();
        let place = |line: &str| said.iter().position(|one| one == line).unwrap();
        for before in ["http ended", "sender ended"] {
            assert!(place(before) < place("reporter is asked"), "{said:?}");
        }
        assert!(
            place("reporter ended") < place("relay is asked"),
            "{said:?}"
        );
        assert_eq!(said.len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_does_not_end_holds_the_others_up_for_its_floors_part_alone() {
        let (mut house, said) = (House::default(), Arc::default());
        house.settle(Floor::Intake, "stuck", |_| std::future::pending());
        settle(&mut house, Floor::Exits, "relay", &said);
        let begun = Instant::now();
        house.stop(Duration::from_secs(10)).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(5_500));
        assert_eq!(said.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_tenant_that_ends_by_itself_is_named() {
        let mut house = House::default();
        house.settle(Floor::Work, "steady", |stop| async move {
            stop.cancelled().await;
        });
        house.settle(Floor::Intake, "broken", |_| async {});
        let name = tokio::time::timeout(LONG, house.first_ended()).await;
        assert_eq!(name.unwrap(), "broken");
    }

    #[test]
    fn a_stop_takes_the_whole_deadline_at_most() {
        let floors: u32 = Floor::ALL.into_iter().map(Floor::share).sum();
        assert_eq!(floors + DEPARTURE_SHARE, 100);
    }
}
