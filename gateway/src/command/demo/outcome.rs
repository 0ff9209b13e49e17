//! What came out, beside what had to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::status::Status;
use pabal_gateway::timeline::{Line, timeline};
use pabal_simulator::Taken;
use serde_json::Value;

use super::cases::{CASES, Case};
use super::inbox::{Results, Told};
use super::play::{Played, Refused, Sent};
use super::stage::Stage;

/// A message and everything that is known of it.
pub(super) struct Ended {
    pub(super) case: Case,
    pub(super) message: Option<String>,
    /// Status and reason as the API tells them, or why there are none.
    pub(super) got: String,
    pub(super) told: Option<Told>,
    /// How long after its acceptance the webhook arrived.
    pub(super) after: Option<Duration>,
    pub(super) lines: Vec<Line>,
}

impl Ended {
    /// Status and reason as they had to be.
    pub(super) fn expected(&self) -> String {
        in_words(
            self.case.status.name(),
            self.case.reason.map(|reason| reason.name()),
        )
    }

    /// Whether the API and the webhook tell what they had to.
    pub(super) fn is_as_expected(&self) -> bool {
        let told = |told: &Told| in_words(&told.status, told.reason.as_deref());
        let expected = self.expected();
        self.got == expected && self.told.as_ref().map(told) == Some(expected)
    }
}

impl Refused {
    /// HTTP status, code and reason as they had to be.
    pub(super) fn expected(&self) -> String {
        let reason = self.refusal.expected;
        format!(
            "{} {} {}",
            reason.http_status(),
            reason.code().name(),
            reason.name()
        )
    }

    /// HTTP status, code and reason of the answer.
    pub(super) fn got(&self) -> String {
        let answer = &self.answer;
        format!(
            "{} {} {}",
            answer.status,
            answer.word("code"),
            answer.word("reason")
        )
    }

    /// Whether they are the same.
    pub(super) fn is_as_expected(&self) -> bool {
        self.got() == self.expected()
    }
}

fn in_words(status: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{status} {reason}"),
        None => status.to_owned(),
    }
}

/// One thing that had to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) ok: bool,
    pub(super) found: String,
}

impl Check {
    pub(super) fn new(what: &'static str, ok: bool, found: impl Into<String>) -> Self {
        Self {
            what,
            ok,
            found: found.into(),
        }
    }
}

/// Asks the API, and the ledger for the operator's timeline, what became of each message.
pub(super) async fn look_up(
    stage: &Stage,
    sent: &[Sent],
    results: &Results,
) -> anyhow::Result<Vec<Ended>> {
    let ledger = &stage.running.node.ledger;
    let mut all = Vec::with_capacity(sent.len());
    for Sent { case, accepted } in sent {
        let id = match accepted {
            Ok(id) => *id,
            Err(refused) => {
                let (got, lines) = (refused.clone(), Vec::new());
                let nothing = Ended {
                    case: *case,
                    message: None,
                    got,
                    told: None,
                    after: None,
                    lines,
                };
                all.push(nothing);
                continue;
            }
        };
        let answer = stage.client.get(&format!("/v1/messages/{id}")).await?;
        let told = results.get(&id.to_string()).cloned();
        let mut ended = Ended {
            case: *case,
            message: Some(id.to_string()),
            got: in_words(answer.word("status"), answer.body["reason"].as_str()),
            told,
            after: None,
            lines: Vec::new(),
        };
        if let Some(view) = ledger.message(id).await? {
            ended.lines = timeline(&view, &ledger.events(id).await?);
            ended.after = ended
                .told
                .as_ref()
                .map(|told| told.at.since(view.accepted_at));
        }
        all.push(ended);
    }
    Ok(all)
}

/// The messages and the refusals as two checks.
pub(super) fn as_expected(ended: &[Ended], refused: &[Refused]) -> [Check; 2] {
    let good = ended.iter().filter(|one| one.is_as_expected()).count();
    let right = refused.iter().filter(|one| one.is_as_expected()).count();
    [
        Check::new(
            "messages",
            good == ended.len(),
            format!("{good} of {} ended as expected", ended.len()),
        ),
        Check::new(
            "refusals",
            right == refused.len(),
            format!(
                "{right} of {} bad requests got their code and reason",
                refused.len()
            ),
        ),
    ]
}

/// Every result came once, signed in both ways.
pub(super) fn webhooks(ended: &[Ended], forged: u64) -> Check {
    let told: Vec<&Told> = ended.iter().filter_map(|one| one.told.as_ref()).collect();
    let once = told.iter().filter(|told| told.webhooks.len() == 1).count();
    let ok = once == ended.len() && forged == 0;
    let found = match ok {
        true => format!("{once} results, each in one webhook; both signatures right every time"),
        false => format!(
            "{} of {} results arrived, {once} of them once; {forged} wrong signatures",
            told.len(),
            ended.len()
        ),
    };
    Check::new("webhooks", ok, found)
}

/// The simulated vendors' own record: who was taken how often.
pub(super) fn vendors(stage: &Stage, ended: &[Ended]) -> Check {
    let (taken, twice) = (stage.simulator.taken(), stage.simulator.duplicates());
    let wrong = wrongly_taken(ended, &taken);
    let ok = wrong.is_empty() && twice.is_empty();
    let mut found = format!(
        "{} messages taken, {} of them twice",
        taken.len(),
        twice.len()
    );
    if ok {
        let left = ended.len() - taken.len();
        found = format!(
            "{} messages taken, none twice; {left} not taken, as it had to be",
            taken.len()
        );
    } else if !wrong.is_empty() {
        found = format!("{found}; not as expected: {}", wrong.join(", "));
    }
    Check::new("vendors' record", ok, found)
}

fn wrongly_taken(ended: &[Ended], taken: &[Taken]) -> Vec<String> {
    let taken: HashSet<String> = taken.iter().map(|one| one.message.to_string()).collect();
    let is_wrong = |one: &&Ended| {
        let was_taken = one.message.as_ref().is_some_and(|id| taken.contains(id));
        was_taken != one.case.is_taken()
    };
    ended
        .iter()
        .filter(is_wrong)
        .map(|one| one.case.client_msg_id())
        .collect()
}

/// The numbers of one type: total, success, failed, of those expired.
type Numbers = [u64; 4];

/// The daily numbers, as the API gives them, against what was sent.
pub(super) async fn daily_numbers(
    stage: &Stage,
    played: &Played,
) -> anyhow::Result<(Check, Value)> {
    let day = |at: Timestamp| at.kst_day().to_string();
    let (from, to) = (day(played.period.0), day(played.period.1));
    let answer = stage
        .client
        .get(&format!("/v1/stats/daily?from={from}&to={to}"))
        .await?;
    let items = answer.body["items"].clone();
    // Two days if midnight in Korea fell into the demo.
    let mut got: BTreeMap<String, Numbers> = BTreeMap::new();
    for row in items.as_array().into_iter().flatten() {
        let numbers = got
            .entry(row["type"].as_str().unwrap_or_default().to_owned())
            .or_default();
        for (number, field) in numbers
            .iter_mut()
            .zip(["total", "success", "failed", "expired"])
        {
            *number += row[field].as_u64().unwrap_or_default();
        }
    }
    let expected = expected_numbers();
    let mut differing = Vec::new();
    for kind in MessageType::ALL {
        let expected = expected.get(&kind).copied().unwrap_or_default();
        let got = got.get(kind.name()).copied().unwrap_or_default();
        if got != expected {
            differing.push(format!("{kind} {got:?} and not {expected:?}"));
        }
    }
    let [total, success, failed, expired] = got.values().fold([0; 4], |mut sum: Numbers, one| {
        sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
        sum
    });
    let found = match differing.is_empty() {
        true => format!(
            "total {total} = success {success} + failed {failed}, {expired} of them expired"
        ),
        false => format!(
            "[total, success, failed, expired]: {}",
            differing.join(", ")
        ),
    };
    Ok((
        Check::new("daily numbers", differing.is_empty(), found),
        items,
    ))
}

fn expected_numbers() -> HashMap<MessageType, Numbers> {
    let mut numbers: HashMap<MessageType, Numbers> = HashMap::new();
    for case in &CASES {
        let row = numbers.entry(case.kind).or_default();
        row[0] += 1;
        match case.status {
            Status::Delivered => row[1] += 1,
            Status::Expired => {
                row[2] += 1;
                row[3] += 1;
            }
            _ => row[2] += 1,
        }
    }
    numbers
}

/// The ledger against itself.
pub(super) async fn books(stage: &Stage) -> anyhow::Result<Check> {
    let differences = stage.running.node.ledger.reconcile().await?;
    let found = match differences.is_empty() {
        true => "messages, statistics and webhooks agree".to_owned(),
        false => {
            let one = |one: &pabal_common::ledger::BookDifference| {
                format!(
                    "{}: messages say {}, the book says {}",
                    one.what, one.messages, one.book
                )
            };
            differences.iter().map(one).collect::<Vec<_>>().join("; ")
        }
    };
    Ok(Check::new("books", differences.is_empty(), found))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ended(got: &str, told: Option<(&str, Option<&str>)>) -> Ended {
        let told = told.map(|(status, reason)| Told {
            webhooks: BTreeSet::from(["w-1".to_owned()]),
            status: status.to_owned(),
            reason: reason.map(ToOwned::to_owned),
            vendor_code: None,
            at: Timestamp::from_millis(0),
        });
        let case = CASES
            .iter()
            .find(|case| case.digits == 54)
            .copied()
            .unwrap();
        Ended {
            case,
            message: None,
            got: got.to_owned(),
            told,
            after: None,
            lines: Vec::new(),
        }
    }

    #[test]
    fn a_message_is_as_expected_only_if_api_and_webhook_both_say_so() {
        let spam = Some(("FAILED", Some("SPAM")));
        assert!(ended("FAILED SPAM", spam).is_as_expected());
        assert!(!ended("FAILED SPAM", None).is_as_expected());
        assert!(!ended("DELIVERED", spam).is_as_expected());
        assert!(!ended("FAILED SPAM", Some(("FAILED", None))).is_as_expected());
    }

    #[test]
    fn a_result_that_is_missing_or_wrongly_signed_is_seen() {
        let spam = Some(("FAILED", Some("SPAM")));
        assert!(webhooks(&[ended("FAILED SPAM", spam)], 0).ok);
        assert!(!webhooks(&[ended("FAILED SPAM", None)], 0).ok);
        assert!(!webhooks(&[ended("FAILED SPAM", spam)], 1).ok);
    }

    #[test]
    fn a_message_that_must_be_taken_and_was_not_is_seen() {
        assert_eq!(
            wrongly_taken(&[ended("FAILED SPAM", None)], &[]),
            ["demo-rcs-54"]
        );
    }
}
