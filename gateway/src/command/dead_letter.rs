//! `pabal dead-letter`

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::clock::{Clock as _, ManualClock, SystemClock, Timestamp};
use pabal_common::domain::id::{DeadLetterId, Ids, InstanceId, NODES, PartnerId};
use pabal_common::ledger::{DeadLetter, DeadLetterFilter, DeadLetterKind};
use pabal_common::process::Visit;
use serde_json::{Value, json};

use super::{Failure, no_such_partner, print_json, print_table, visit};
use crate::cli::Configuration;

/// Dead letters sent again in one transaction; each may hold a whole webhook body.
const PAGE: u32 = 100;
/// An owner that never lives: a running pabal adopts what such a one left.
const NOBODY: InstanceId = InstanceId::from_number(0);

const LIST_EXAMPLES: &str = "\
Kinds: webhook (its endpoint never took it), report (its message was never found), frame (a queue
message that nobody could read). Oldest first.

Examples:
  pabal dead-letter list
  pabal dead-letter list --partner shop --kind webhook --from 2026-11-21T00:00:00+09:00
  pabal dead-letter list --limit 1000 --json";

const REPLAY_EXAMPLES: &str = "\
A webhook goes out under the webhook-id it had. Those that were sent again before are passed over,
unless they are named by --id. A pabal that is running picks them up within seconds.

Examples:
  pabal dead-letter replay --id 0Q4JX2T7N8M9R
  pabal dead-letter replay --partner shop --kind webhook
  pabal dead-letter replay --all --from 2026-11-21T00:00:00+09:00 --limit 500";

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// What was given up, and why
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArguments),
    /// Send it again
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArguments),
}

#[derive(clap::Args)]
pub(crate) struct ListArguments {
    /// Only this partner's
    #[arg(long, value_name = "ID")]
    partner: Option<PartnerId>,
    #[command(flatten)]
    which: Which,
    /// At most this many, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those after this one: where the last list ended
    #[arg(long, value_name = "ID")]
    after: Option<DeadLetterId>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct ReplayArguments {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    which: Which,
    /// At most this many; all if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
          conflicts_with = "ids")]
    limit: Option<u32>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// This one, also if it was sent again before; may be repeated
    #[arg(long = "id", value_name = "ID", conflicts_with_all = ["kind", "from", "to"])]
    ids: Vec<DeadLetterId>,
    /// This partner's
    #[arg(long, value_name = "ID")]
    partner: Option<PartnerId>,
    /// Everybody's
    #[arg(long)]
    all: bool,
}

#[derive(clap::Args)]
struct Which {
    /// Only this kind: webhook, report or frame
    #[arg(long, value_parser = kind)]
    kind: Option<DeadLetterKind>,
    /// Only given up at or after this time, as in 2026-11-21T09:00:00+09:00
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Only given up before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
}

pub(crate) async fn run(with: &Configuration, command: Command) -> Result<(), Failure> {
    let values = with.load()?;
    match command {
        Command::List(arguments) => {
            let filter = arguments.which.filter(arguments.partner)?;
            let storage = open(&values, &filter).await?;
            let filter = DeadLetterFilter {
                limit: arguments.limit,
                after: arguments.after,
                ..filter
            };
            list(&storage, filter, arguments.json).await
        }
        Command::Replay(arguments) => {
            let filter = arguments.which.filter(arguments.whose.partner)?;
            let storage = open(&values, &filter).await?;
            let replayed = match arguments.whose.ids.is_empty() {
                true => replay_matching(&storage, filter, arguments.limit).await?,
                false => replay_ids(&storage, arguments.whose.ids).await?,
            };
            tell(&replayed, arguments.json);
            Ok(())
        }
    }
}

impl Which {
    fn filter(&self, partner: Option<PartnerId>) -> Result<DeadLetterFilter, Failure> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Failure::usage("--from must be earlier than --to"));
        }
        Ok(DeadLetterFilter {
            partner,
            kind: self.kind,
            from: self.from,
            to: self.to,
            ..DeadLetterFilter::default()
        })
    }
}

async fn open(
    values: &pabal_common::config::Values,
    filter: &DeadLetterFilter,
) -> Result<Visit, Failure> {
    let storage = visit(values).await?;
    match &filter.partner {
        Some(id) if storage.ledger.partner(id).await?.is_none() => Err(no_such_partner(id)),
        _ => Ok(storage),
    }
}

async fn list(storage: &Visit, filter: DeadLetterFilter, as_json: bool) -> Result<(), Failure> {
    let wanted = filter.limit;
    // One more than asked for tells whether any follow.
    let filter = DeadLetterFilter {
        limit: wanted + 1,
        ..filter
    };
    let mut found = storage.ledger.dead_letters(&filter).await?;
    let follow = found.len() > wanted as usize;
    found.truncate(wanted as usize);
    let next = found
        .last()
        .map(|last| last.letter.id.to_string())
        .filter(|_| follow);
    if as_json {
        let items: Vec<Value> = found.iter().map(view).collect();
        print_json(&json!({"items": items, "nextCursor": next}));
        return Ok(());
    }
    if found.is_empty() {
        println!("There are no such dead letters.");
        return Ok(());
    }
    let headings = [
        "ID",
        "KIND",
        "PARTNER",
        "SUBJECT",
        "ATTEMPTS",
        "GIVEN UP",
        "SENT AGAIN",
        "REASON",
    ];
    let rows: Vec<_> = found.iter().map(cells).collect();
    print_table(headings, &rows);
    if let Some(next) = next {
        println!("More follow: --after {next}");
    }
    Ok(())
}

/// What was sent again.
struct Replayed {
    count: u32,
    /// Whether the limit left some behind.
    more: bool,
}

/// All of them or none: they are looked up first.
async fn replay_ids(storage: &Visit, mut ids: Vec<DeadLetterId>) -> Result<Replayed, Failure> {
    ids.sort_unstable();
    ids.dedup();
    for page in ids.chunks(PAGE as usize) {
        let found = storage.ledger.dead_letters(&these(page.to_vec())).await?;
        let known: HashSet<_> = found.iter().map(|one| one.letter.id).collect();
        if let Some(id) = page.iter().find(|id| !known.contains(id)) {
            return Err(Failure::failed(format!(
                "there is no dead letter {id}; `pabal dead-letter list` shows them; nothing was sent"
            )));
        }
    }
    let outbox = outbox_ids();
    let mut count = 0;
    for page in ids.chunks(PAGE as usize) {
        count += send_again(storage, &outbox, page.to_vec()).await?;
    }
    Ok(Replayed { count, more: false })
}

/// A page at a time, passing over those that were sent again before.
async fn replay_matching(
    storage: &Visit,
    filter: DeadLetterFilter,
    limit: Option<u32>,
) -> Result<Replayed, Failure> {
    // What fails again meanwhile is a new dead letter and must not be chased.
    let now = SystemClock.now();
    let to = filter.to.map_or(now, |to| to.min(now));
    let mut page = DeadLetterFilter {
        to: Some(to),
        limit: PAGE,
        ..filter
    };
    let outbox = outbox_ids();
    let mut count = 0;
    loop {
        let found = storage.ledger.dead_letters(&page).await?;
        let left = limit.map_or(PAGE, |limit| limit - count) as usize;
        let waiting: Vec<_> = found
            .iter()
            .filter(|one| one.replayed_at.is_none())
            .map(|one| one.letter.id)
            .collect();
        let ids: Vec<_> = waiting.iter().copied().take(left).collect();
        let more = ids.len() < waiting.len();
        if !ids.is_empty() {
            count += send_again(storage, &outbox, ids).await?;
        }
        if more || found.len() < PAGE as usize {
            return Ok(Replayed { count, more });
        }
        page.after = found.last().map(|last| last.letter.id);
    }
}

/// Webhook rows and the outbox row belong to nobody, so that a running pabal adopts them: this
/// process publishes nothing itself.
async fn send_again(storage: &Visit, outbox: &Ids, ids: Vec<DeadLetterId>) -> Result<u32, Failure> {
    let (filter, now) = (these(ids), SystemClock.now());
    let (count, _) = storage
        .ledger
        .replay(NOBODY, outbox.outbox(), &filter, now)
        .await?;
    Ok(count)
}

/// Ids for outbox rows that no running process can be making: it makes them for now, these are an
/// hour old.
fn outbox_ids() -> Ids {
    let earlier = SystemClock.now().minus(Duration::from_secs(3600));
    let node = std::process::id() % u32::from(NODES);
    let node = u16::try_from(node).unwrap_or_default();
    Ids::new(Arc::new(ManualClock::new(earlier)), node)
}

fn these(ids: Vec<DeadLetterId>) -> DeadLetterFilter {
    DeadLetterFilter {
        limit: PAGE,
        ids,
        ..DeadLetterFilter::default()
    }
}

fn tell(replayed: &Replayed, as_json: bool) {
    let Replayed { count, more } = replayed;
    if as_json {
        print_json(&json!({"replayed": count, "more": more}));
        return;
    }
    match count {
        0 => println!("There was nothing to send again."),
        1 => println!("1 dead letter is sent again: {PICKED_UP}"),
        _ => println!("{count} dead letters are sent again: {PICKED_UP}"),
    }
    if *more {
        println!("The limit left some behind: run it again for those.");
    }
}

const PICKED_UP: &str = "a running pabal picks it up within seconds, or the next one that starts.";

fn view(one: &DeadLetter) -> Value {
    let letter = &one.letter;
    json!({
        "id": letter.id.to_string(),
        "kind": letter.kind.name(),
        "partner": letter.partner,
        "subject": letter.subject,
        "messageIds": message_ids(one),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "bytes": letter.payload.len(),
        "createdAt": one.created_at.to_rfc3339(),
        "replayedAt": one.replayed_at.map(|at| at.to_rfc3339()),
    })
}

/// The messages a webhook tells of; its body itself holds the partner's metadata.
fn message_ids(one: &DeadLetter) -> Vec<String> {
    if one.letter.kind != DeadLetterKind::Webhook {
        return Vec::new();
    }
    let body: Value = serde_json::from_slice(&one.letter.payload).unwrap_or_default();
    let events = body["events"].as_array().into_iter().flatten();
    events
        .filter_map(|event| event["messageId"].as_str().map(ToOwned::to_owned))
        .collect()
}

fn cells(one: &DeadLetter) -> [String; 8] {
    let letter = &one.letter;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        letter.id.to_string(),
        letter.kind.name().to_owned(),
        or_none(letter.partner.as_ref().map(ToString::to_string)),
        letter.subject.clone(),
        letter.attempts.to_string(),
        one.created_at.to_rfc3339(),
        or_none(one.replayed_at.map(Timestamp::to_rfc3339)),
        letter.reason.clone(),
    ]
}

fn kind(text: &str) -> Result<DeadLetterKind, String> {
    DeadLetterKind::parse(text).ok_or_else(|| {
        let names = DeadLetterKind::ALL.map(DeadLetterKind::name);
        format!("there is no such kind; there are {}", names.join(", "))
    })
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| {
        "expected a time such as 2026-11-21T09:00:00+09:00 or 2026-11-21T00:00:00Z".to_owned()
    })
}
