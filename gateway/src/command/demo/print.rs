//! What a person, or a program, reads of the demo.

use std::io::IsTerminal as _;

use pabal_gateway::timeline::Line;
use serde_json::{Value, json};

use super::super::print_json;
use super::Show;
use super::outcome::{Check, Ended};
use super::play::Refused;
use super::stage::Stage;

/// Columns of a line at most, where nothing is wrong.
const WIDTH: usize = 98;

/// Colours, where there is a terminal and nobody objects (<https://no-color.org>).
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// For standard output.
    pub(super) fn of_terminal() -> Self {
        let objection = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(std::io::stdout().is_terminal() && !objection)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn verdict(self, ok: bool) -> String {
        match ok {
            true => self.with("32", "ok"),
            false => self.with("1;31", "FAIL"),
        }
    }
}

/// What runs and where, before anything happens.
pub(super) fn opening(stage: &Stage, folder: &str, messages: usize, paint: Paint) {
    println!("{}", paint.bold("Pabal demo"));
    println!();
    println!("  Every service in this process, over real HTTP, with simulated vendors.");
    println!("  HTTP API     {}", stage.client.base());
    println!("  webhooks to  {}", stage.webhook_url);
    println!("  data folder  {folder}");
    println!();
    println!(
        "  {messages} messages go into every kind of trouble; the recipient's last two digits choose which."
    );
    println!("  A result that never comes is given up after 12 s here. This takes about 15 s.");
}

/// Everything that came out.
pub(super) fn report(show: &Show, paint: Paint) {
    heading("Timelines (UTC)", paint);
    for ended in &show.ended {
        println!();
        block(ended, paint);
    }
    heading("Messages", paint);
    println!();
    messages(&show.ended, paint);
    heading("Requests that must be refused", paint);
    println!();
    refusals(&show.refused, paint);
    heading("Checks", paint);
    println!();
    for Check { what, ok, found } in &show.checks {
        let pad = if *ok { "  " } else { "" };
        println!("  {}{pad}  {what:<20}  {found}", paint.verdict(*ok));
    }
    println!();
    let seconds = show.took.as_secs_f64();
    match show.is_as_expected() {
        true => println!(
            "{}",
            paint.bold(&format!("All came out as expected, in {seconds:.1} s."))
        ),
        false => println!(
            "{}",
            paint.bold(&format!(
                "Not everything came out as expected ({seconds:.1} s)."
            ))
        ),
    }
}

fn heading(text: &str, paint: Paint) {
    println!();
    println!("{}", paint.bold(text));
}

/// One message: what it is and how it ended, its ids, its timeline.
fn block(ended: &Ended, paint: Paint) {
    let Ended {
        case,
        message,
        got,
        told,
        after,
        lines,
    } = ended;
    let title = format!("{} ..{:02}  {}", case.kind, case.digits, case.what);
    let width = WIDTH.saturating_sub(title.chars().count() + 8);
    let verdict = paint.verdict(ended.is_as_expected());
    println!("  {}{got:>width$}  {verdict}", paint.bold(&title));
    let id = message.as_deref().unwrap_or("none");
    println!(
        "  {}",
        paint.dim(&format!(
            "message {id}, clientMsgId {}",
            case.client_msg_id()
        ))
    );
    let first = lines.first().map(|line| line.at);
    for Line { at, what, detail } in lines {
        let (time, offset) = (
            at.to_rfc3339(),
            at.since(first.unwrap_or(*at)).as_secs_f64(),
        );
        step(time.get(11..23).unwrap_or(&time), offset, what, detail);
    }
    match (told, after) {
        (Some(told), Some(after)) => {
            let time = told.at.to_rfc3339();
            let ids: Vec<&str> = told.webhooks.iter().map(String::as_str).collect();
            let detail = format!("{} arrived, both signatures right", ids.join(", "));
            step(
                time.get(11..23).unwrap_or(&time),
                after.as_secs_f64(),
                "WEBHOOK",
                &detail,
            );
        }
        _ => println!("    no webhook arrived"),
    }
}

fn step(time: &str, offset: f64, what: &str, detail: &str) {
    let line = format!("    {time}  {offset:>+8.3} s  {what:<12}  {detail}");
    // A vendor's text must not command the terminal.
    println!("{}", line.replace(char::is_control, "?").trim_end());
}

fn messages(ended: &[Ended], paint: Paint) {
    println!(
        "  {:<2}  {:<19}  {:<24}  {:<28}  {:>7}",
        "TO", "TYPE", "CASE", "EXPECTED", "WEBHOOK"
    );
    for one in ended {
        let (expected, ok) = (one.expected(), one.is_as_expected());
        let after = one.after.map_or("none".to_owned(), |after| {
            format!("{:.2} s", after.as_secs_f64())
        });
        let got = match ok {
            true => String::new(),
            false => format!(" got {}", one.got),
        };
        println!(
            "  {:02}  {:<19}  {:<24}  {expected:<28}  {after:>7}  {}{got}",
            one.case.digits,
            one.case.kind.name(),
            one.case.what,
            paint.verdict(ok),
        );
    }
}

fn refusals(refused: &[Refused], paint: Paint) {
    println!("  {:<33}  EXPECTED", "REQUEST");
    for one in refused {
        let (expected, ok) = (one.expected(), one.is_as_expected());
        let got = match ok {
            true => String::new(),
            false => format!(" got {}", one.got()),
        };
        println!(
            "  {:<33}  {expected:<42}  {}{got}",
            one.refusal.what,
            paint.verdict(ok)
        );
    }
}

/// The same as one JSON document.
pub(super) fn report_json(show: &Show) {
    let messages: Vec<Value> = show.ended.iter().map(message_json).collect();
    let refused = show.refused.iter().map(|one| {
        json!({
            "what": one.refusal.what, "expected": one.expected(), "got": one.got(),
            "ok": one.is_as_expected(),
        })
    });
    let checks = show
        .checks
        .iter()
        .map(|check| json!({"what": check.what, "ok": check.ok, "found": check.found}));
    print_json(&json!({
        "ok": show.is_as_expected(),
        "tookMs": u64::try_from(show.took.as_millis()).unwrap_or(u64::MAX),
        "messages": messages,
        "refused": refused.collect::<Vec<_>>(),
        "daily": show.daily,
        "checks": checks.collect::<Vec<_>>(),
    }));
}

fn message_json(one: &Ended) -> Value {
    let webhook = one.told.as_ref().map(|told| {
        json!({
            "ids": told.webhooks, "status": told.status, "reason": told.reason,
            "vendorCode": told.vendor_code, "at": told.at.to_rfc3339(),
        })
    });
    let lines = one
        .lines
        .iter()
        .map(|line| json!({"at": line.at.to_rfc3339(), "what": line.what, "detail": line.detail}));
    json!({
        "case": one.case.what, "type": one.case.kind, "digits": one.case.digits,
        "messageId": one.message, "clientMsgId": one.case.client_msg_id(),
        "expected": one.expected(), "got": one.got, "webhook": webhook,
        "ok": one.is_as_expected(), "timeline": lines.collect::<Vec<_>>(),
    })
}
