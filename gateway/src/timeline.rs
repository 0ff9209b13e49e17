//! A message's history for operators: its steps and everything unusual, without any content.

use std::fmt::Write as _;
use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::domain::event::EventKind;
use pabal_common::domain::kind::Lane;
use pabal_common::domain::phase::Phase;
use pabal_common::ledger::{EventRow, MessageView};

/// Something that happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What: RECEIVED, QUEUED (again), CLAIMED, SENT, DELIVERED, FAILED, EXPIRED, or the kind of an
    /// event.
    pub what: String,
    /// More, for people.
    pub detail: String,
}

/// What happened to a message, in order of time.
///
/// A row keeps its last claim and its last queueing; earlier ones show in their RETRY, DEFERRED
/// and HELD events.
pub fn timeline(view: &MessageView, events: &[EventRow]) -> Vec<Line> {
    let mut lines = vec![(Place::Received, received(view))];
    if view.queued_at != view.accepted_at {
        lines.push((
            Place::Queued,
            line(view.queued_at, "QUEUED", "again".into()),
        ));
    }
    if let Some(at) = view.claimed_at {
        lines.push((
            Place::Claimed,
            line(at, "CLAIMED", claimed(view, events, at)),
        ));
    }
    for event in events {
        let line = line(event.at, &event.kind, event.note.clone());
        lines.push((Place::of(&event.kind), line));
    }
    if let Some(at) = view.sent_at {
        let id = view
            .vendor_id
            .as_deref()
            .map(|id| format!("vendor id {id}"));
        lines.push((Place::Sent, line(at, "SENT", id.unwrap_or_default())));
    }
    if let Some(at) = view.final_at {
        lines.push((Place::Ended, line(at, view.status.name(), ended(view))));
    }
    lines.sort_by_key(|(place, line)| (line.at, *place));
    lines.into_iter().map(|(_, line)| line).collect()
}

/// The facts above a timeline: names and values.
pub fn facts(view: &MessageView) -> Vec<(&'static str, String)> {
    vec![
        ("message", view.id.to_string()),
        ("partner", view.partner.to_string()),
        ("clientMsgId", view.client_msg_id.to_string()),
        ("type", view.kind.to_string()),
        ("purpose", view.purpose.name().to_owned()),
        ("lane", lane(view.lane).to_owned()),
        ("status", view.status.name().to_owned()),
        ("phase", phase(view.phase).to_owned()),
    ]
}

/// Facts and timeline as text for a terminal.
pub fn render(view: &MessageView, events: &[EventRow]) -> String {
    let mut text = String::new();
    for (name, value) in facts(view) {
        row(&mut text, format_args!("{name:<12} {value}"));
    }
    text.push('\n');
    let lines = timeline(view, events);
    let widest = lines.iter().map(|line| line.what.len()).max().unwrap_or(0);
    let (time, after, what, detail) = ("TIME", "AFTER", "WHAT", "DETAIL");
    row(
        &mut text,
        format_args!("{time:<24}  {after:>9}  {what:<widest$}  {detail}"),
    );
    for line in lines {
        let (time, after) = (
            line.at.to_rfc3339(),
            offset(line.at.since(view.accepted_at)),
        );
        let (what, detail) = (line.what, line.detail);
        row(
            &mut text,
            format_args!("{time:<24}  {after:>9}  {what:<widest$}  {detail}"),
        );
    }
    text
}

/// The word for a lane.
pub const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Ordinary => "ORDINARY",
        Lane::Express => "EXPRESS",
        Lane::Bulk => "BULK",
    }
}

/// The word for a phase.
pub const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "QUEUED",
        Phase::Waiting => "WAITING",
        Phase::Submitting => "SUBMITTING",
        Phase::Unknown => "UNKNOWN",
        Phase::Answered => "ANSWERED",
        Phase::Done => "DONE",
    }
}

/// The order of things that have the same millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Received,
    Queued,
    Claimed,
    Unusual,
    Sent,
    Ended,
    Afterwards,
}

impl Place {
    fn of(event: &str) -> Self {
        match EventKind::parse(event).is_some_and(EventKind::is_afterwards) {
            true => Self::Afterwards,
            false => Self::Unusual,
        }
    }
}

fn line(at: Timestamp, what: &str, detail: String) -> Line {
    Line {
        at,
        what: what.to_owned(),
        detail,
    }
}

fn received(view: &MessageView) -> Line {
    let until = format!("worth sending until {}", view.valid_until.to_rfc3339());
    line(view.accepted_at, "RECEIVED", until)
}

fn claimed(view: &MessageView, events: &[EventRow], at: Timestamp) -> String {
    // The row's own count may have moved on since; every attempt before this one left an event.
    let before = events
        .iter()
        .filter(|event| event.kind == EventKind::Retry.name() && event.at < at)
        .count();
    let mut parts = Vec::new();
    parts.extend(view.route.as_ref().map(|route| format!("route {route}")));
    parts.extend(
        view.account
            .as_ref()
            .map(|account| format!("account {account}")),
    );
    parts.push(format!("attempt {}", before + 1));
    parts.join(", ")
}

fn ended(view: &MessageView) -> String {
    let mut parts = Vec::new();
    parts.extend(view.reason.map(|reason| reason.name().to_owned()));
    parts.extend(
        view.vendor_code
            .as_ref()
            .map(|code| format!("vendor code {code}")),
    );
    parts.join(", ")
}

fn offset(after: Duration) -> String {
    let millis = after.as_millis();
    let (seconds, minutes, hours) = (millis / 1000, millis / 60_000, millis / 3_600_000);
    match (hours, minutes) {
        (0, 0) => format!("+{seconds}.{:03}s", millis % 1000),
        (0, _) => format!("+{minutes}m{:02}s", seconds % 60),
        _ => format!("+{hours}h{:02}m", minutes % 60),
    }
}

fn row(text: &mut String, cells: std::fmt::Arguments<'_>) {
    let mut row = String::new();
    // Writing to a String cannot fail.
    let _ = row.write_fmt(cells);
    // A vendor's text must not command the terminal.
    text.push_str(row.replace(char::is_control, "?").trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::id::MessageId;
    use pabal_common::domain::kind::{MessageType, Purpose};
    use pabal_common::domain::reason::Reason;
    use pabal_common::domain::status::Status;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn event(millis: i64, kind: &str, note: &str) -> EventRow {
        EventRow {
            at: at(millis),
            kind: kind.to_owned(),
            note: note.to_owned(),
        }
    }

    fn failed() -> MessageView {
        MessageView {
            id: MessageId::from_number(1),
            partner: "shop".parse().unwrap(),
            client_msg_id: "order-1".parse().unwrap(),
            digest: [0; 16],
            kind: MessageType::Sms,
            purpose: Purpose::Info,
            lane: Lane::Ordinary,
            status: Status::Failed,
            phase: Phase::Done,
            attempt: 1,
            reason: Some(Reason::Spam),
            vendor_code: Some("4430".to_owned()),
            route: Some("sms-a".to_owned()),
            account: Some("sim/sms".to_owned()),
            vendor_id: Some("v-1".to_owned()),
            owner: None,
            submission: None,
            accepted_at: at(1_000),
            queued_at: at(2_005),
            claimed_at: Some(at(2_007)),
            sent_at: Some(at(2_020)),
            final_at: Some(at(70_000)),
            valid_until: at(86_400_000),
            metadata: None,
        }
    }

    fn whats(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.what.as_str()).collect()
    }

    #[test]
    fn a_retried_message_shows_every_step_in_the_order_of_things() {
        let events = [
            event(1_004, "RETRY", "could not connect; attempt 1 follows"),
            event(
                70_000,
                "WEBHOOK_FAILED",
                "attempt 1: the endpoint answered HTTP 503",
            ),
        ];
        let lines = timeline(&failed(), &events);
        let order = [
            "RECEIVED",
            "RETRY",
            "QUEUED",
            "CLAIMED",
            "SENT",
            "FAILED",
            "WEBHOOK_FAILED",
        ];
        assert_eq!(whats(&lines), order);
        assert_eq!(lines[3].detail, "route sms-a, account sim/sms, attempt 2");
        assert_eq!(lines[4].detail, "vendor id v-1");
        assert_eq!(lines[5].detail, "SPAM, vendor code 4430");
    }

    #[test]
    fn a_message_that_nobody_took_yet_shows_its_acceptance_alone() {
        let view = MessageView {
            status: Status::Received,
            phase: Phase::Queued,
            queued_at: at(1_000),
            claimed_at: None,
            sent_at: None,
            final_at: None,
            ..failed()
        };
        assert_eq!(whats(&timeline(&view, &[])), ["RECEIVED"]);
    }

    #[test]
    fn an_attempt_that_just_failed_is_still_counted_as_itself() {
        let view = MessageView {
            claimed_at: Some(at(1_004)),
            ..failed()
        };
        let lines = timeline(&view, &[event(1_004, "RETRY", "")]);
        let claimed = lines.iter().find(|line| line.what == "CLAIMED").unwrap();
        assert!(claimed.detail.ends_with("attempt 1"), "{}", claimed.detail);
    }

    #[test]
    fn the_text_names_the_facts_and_the_time_since_acceptance() {
        let text = render(&failed(), &[]);
        for expected in [
            "order-1", "ORDINARY", "DONE", "+0.000s", "+1.020s", "+1m09s",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        assert_eq!(offset(Duration::from_secs(90_000)), "+25h00m");
    }

    #[test]
    fn a_vendors_text_cannot_command_the_terminal() {
        let view = MessageView {
            vendor_code: Some("\u{1b}[2J".to_owned()),
            ..failed()
        };
        assert!(!render(&view, &[]).contains('\u{1b}'));
    }
}
