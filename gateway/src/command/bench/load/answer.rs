//! Reading an answer as cheaply as it can be: where everything went well its text is searched, and
//! only what did not go well is parsed.

use pabal_common::domain::id::MessageId;
use serde_json::Value;

const MESSAGE: &str = "\"messageId\":\"";
const ALL_ACCEPTED: &str = "\"rejected\":0,";
const ID_LENGTH: usize = 13;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every message is accepted; their ids were added.
    Accepted,
    /// Not everything is accepted now: the same request again, under the same ids.
    Again,
    /// It will never be accepted.
    Wrong(String),
}

/// Reads the answer to a request with `size` messages; adds their ids if all are accepted.
pub(super) fn read(status: u16, body: &[u8], size: usize, ids: &mut Vec<u64>) -> Verdict {
    let before = ids.len();
    let text = std::str::from_utf8(body).unwrap_or_default();
    let fine = status == 202 || status == 200 && text.contains(ALL_ACCEPTED);
    if fine && add_ids(text, ids).is_some() && ids.len() - before == size {
        return Verdict::Accepted;
    }
    ids.truncate(before);
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let verdict = match status {
        200 => read_results(&body, size, ids),
        _ => read_one(status, &body, ids),
    };
    if verdict != Verdict::Accepted {
        ids.truncate(before);
    }
    verdict
}

/// Reads the answer of a gateway whose status says everything, to the message with this number, which
/// is its id here.
pub(super) fn read_status(status: u16, accepted: u16, number: u64, ids: &mut Vec<u64>) -> Verdict {
    match status {
        _ if status == accepted => {
            ids.push(number);
            Verdict::Accepted
        }
        429 | 500.. => Verdict::Again,
        _ => Verdict::Wrong(format!("HTTP {status}")),
    }
}

fn add_ids(text: &str, ids: &mut Vec<u64>) -> Option<()> {
    for (at, key) in text.match_indices(MESSAGE) {
        let rest = &text[at + key.len()..];
        let id: MessageId = rest.get(..ID_LENGTH)?.parse().ok()?;
        ids.push(id.number());
    }
    Some(())
}

/// A batch of which something was not accepted now. What was accepted before counts.
fn read_results(body: &Value, size: usize, ids: &mut Vec<u64>) -> Verdict {
    let results = body["results"].as_array().map_or(&[][..], Vec::as_slice);
    if results.len() != size {
        return Verdict::Wrong(format!("HTTP 200 {body}"));
    }
    let mut verdict = Verdict::Accepted;
    for result in results {
        match read_one(200, result, ids) {
            Verdict::Accepted => {}
            Verdict::Again => verdict = Verdict::Again,
            wrong => return wrong,
        }
    }
    verdict
}

/// One message's answer or result.
fn read_one(status: u16, body: &Value, ids: &mut Vec<u64>) -> Verdict {
    match (body["code"].as_str(), body["reason"].as_str()) {
        (Some("0000"), _) | (Some("E004"), Some("SAME")) => {
            let id = body["messageId"].as_str().and_then(|id| id.parse().ok());
            let Some(id) = id.map(MessageId::number) else {
                return Verdict::Wrong(format!("HTTP {status} {body}"));
            };
            ids.push(id);
            Verdict::Accepted
        }
        // Beyond the rate, or our own trouble: it may work later.
        (Some("E003" | "E100" | "E101" | "E102"), _) => Verdict::Again,
        _ if status >= 500 => Verdict::Again,
        _ => Verdict::Wrong(format!("HTTP {status} {body}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0000000000001";
    const TWO: &str = "0000000000002";

    fn of(status: u16, body: &str, size: usize) -> (Verdict, Vec<u64>) {
        let mut ids = vec![99];
        let verdict = read(status, body.as_bytes(), size, &mut ids);
        assert_eq!(ids.remove(0), 99, "what was there before stays");
        (verdict, ids)
    }

    #[test]
    fn the_id_of_an_accepted_message_is_found() {
        let body = format!(
            r#"{{"code":"0000","messageId":"{ONE}","clientMsgId":"a","status":"RECEIVED"}}"#
        );
        assert_eq!(of(202, &body, 1), (Verdict::Accepted, vec![1]));
    }

    #[test]
    fn a_repeat_that_was_accepted_before_counts_as_accepted() {
        let body = format!(r#"{{"code":"E004","reason":"SAME","messageId":"{ONE}"}}"#);
        assert_eq!(of(409, &body, 1), (Verdict::Accepted, vec![1]));
        let other = format!(r#"{{"code":"E004","reason":"DIFFERENT","messageId":"{ONE}"}}"#);
        assert!(matches!(of(409, &other, 1).0, Verdict::Wrong(_)));
    }

    #[test]
    fn a_batch_is_accepted_when_each_of_its_messages_is() {
        let result = |code: &str, id: &str| {
            format!(r#"{{"index":0,"code":"{code}","reason":"SAME","messageId":"{id}"}}"#)
        };
        let batch = |rejected: usize, results: &[String]| {
            let results = results.join(",");
            format!(r#"{{"code":"0000","accepted":9,"rejected":{rejected},"results":[{results}]}}"#)
        };
        let all = batch(0, &[result("0000", ONE), result("0000", TWO)]);
        assert_eq!(of(200, &all, 2), (Verdict::Accepted, vec![1, 2]));
        let known = batch(1, &[result("E004", ONE), result("0000", TWO)]);
        assert_eq!(of(200, &known, 2), (Verdict::Accepted, vec![1, 2]));
        let partly = batch(1, &[result("0000", ONE), r#"{"code":"E102"}"#.to_owned()]);
        assert_eq!(of(200, &partly, 2), (Verdict::Again, vec![]));
        let short = batch(0, &[result("0000", ONE)]);
        assert!(matches!(of(200, &short, 2).0, Verdict::Wrong(_)));
    }

    #[test]
    fn what_may_work_later_is_asked_again_and_nothing_else() {
        for (status, code) in [(429, "E003"), (500, "E100"), (503, "E101"), (503, "E102")] {
            let body = format!(r#"{{"code":"{code}"}}"#);
            assert_eq!(of(status, &body, 1), (Verdict::Again, vec![]), "{code}");
        }
        assert_eq!(of(502, "<html>", 1), (Verdict::Again, vec![]));
        for (status, body) in [(400, r#"{"code":"E001"}"#), (401, ""), (202, "{}")] {
            let (verdict, ids) = of(status, body, 1);
            assert!(matches!(verdict, Verdict::Wrong(_)), "{status} {body}");
            assert_eq!(ids, [0; 0]);
        }
    }

    #[test]
    fn where_the_status_says_everything_the_number_is_the_id() {
        let mut ids = Vec::new();
        assert_eq!(read_status(202, 202, 7, &mut ids), Verdict::Accepted);
        for later in [429, 503] {
            assert_eq!(read_status(later, 202, 8, &mut ids), Verdict::Again);
        }
        let wrong = read_status(200, 202, 9, &mut ids);
        assert!(matches!(wrong, Verdict::Wrong(_)), "{wrong:?}");
        assert_eq!(ids, [7]);
    }
}
