//! `pabal route explain`

use pabal_common::crypto::Sealer;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::message::Content;
use pabal_common::domain::phase::Phase;
use pabal_common::domain::text;
use pabal_common::ledger::MessageView;
use pabal_gateway::timeline;
use pabal_provider::route::Traits;
use serde_json::{Value, json};

use super::plan::Planned;
use super::{Desk, list, print_json};
use crate::command::{Failure, print_table};

/// What a route is to a message.
struct Judged<'a> {
    route: &'a Planned,
    /// Why it does not carry the message.
    misfit: Option<String>,
}

impl Judged<'_> {
    fn is_usable(&self) -> bool {
        self.misfit.is_none() && !self.route.paused && self.route.state.is_open()
    }
}

pub(super) async fn run(desk: &Desk, id: MessageId, as_json: bool) -> Result<(), Failure> {
    let ledger = &desk.storage.ledger;
    let found = ledger.message(id).await?;
    let view = found.ok_or_else(|| Failure::failed(format!("there is no message {id}")))?;
    let looked = ledger.look(&[id]).await?.into_iter().next();
    let sealer = Sealer::new(&desk.storage.keyring);
    let plain = looked.and_then(|message| sealer.open(id, &message.sealed).ok());
    let content: Option<Content> = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
    let routes = desk.plan().await?.routes;
    let judged: Vec<Judged<'_>> = routes
        .iter()
        .map(|route| Judged {
            misfit: misfit(route, &view, content.as_ref()),
            route,
        })
        .collect();
    let waits = waits_for(&view, &judged);
    match as_json {
        true => print_json(&shown(&view, &judged, waits)),
        false => print(&view, &judged, waits),
    }
    Ok(())
}

/// Why a route does not carry a message. Neither recipient nor text is part of the answer.
fn misfit(route: &Planned, view: &MessageView, content: Option<&Content>) -> Option<String> {
    let (spec, _) = match &route.route {
        Ok(route) => route,
        Err(error) => return Some(error.clone()),
    };
    let Some(content) = content else {
        return Some("the message cannot be read any more".to_owned());
    };
    let checked = spec.check(&Traits {
        kind: view.kind,
        partner: &view.partner,
        recipient: &content.to,
        length: text::length(view.kind, &content.text),
    });
    checked.err().map(|misfit| misfit.to_string())
}

/// What a message waits for.
fn waits_for(view: &MessageView, judged: &[Judged<'_>]) -> &'static str {
    let carried = judged.iter().any(|one| one.misfit.is_none());
    let usable = judged.iter().any(Judged::is_usable);
    match view.phase {
        Phase::Queued | Phase::Waiting if !carried => {
            "a route that carries it: until its validity ends, then it fails as ROUTE_DOWN"
        }
        Phase::Queued | Phase::Waiting if !usable => {
            "one of the routes that carry it to be usable again, or the end of its validity"
        }
        Phase::Queued => "its turn in the queue",
        Phase::Waiting => "the time at which it is tried again",
        Phase::Submitting => "the vendor's answer to the call under way",
        Phase::Answered => "the vendor's report",
        Phase::Unknown => {
            "a report: its answer was lost, so nobody knows whether it was taken, and it is not sent again"
        }
        Phase::Done => "nothing: it has ended",
    }
}

fn print(view: &MessageView, judged: &[Judged<'_>], waits: &str) {
    let facts = [
        ("message", view.id.to_string()),
        ("partner", view.partner.to_string()),
        ("type", view.kind.to_string()),
        ("phase", timeline::phase(view.phase).to_owned()),
        (
            "last route",
            view.route.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("valid until", view.valid_until.to_rfc3339()),
        ("waits for", waits.to_owned()),
    ];
    for (name, value) in facts {
        println!("{name:<12} {value}");
    }
    println!();
    let rows: Vec<[String; 3]> = judged
        .iter()
        .map(|one| {
            let carries = match &one.misfit {
                Some(why) => format!("no: {why}"),
                None => "yes".to_owned(),
            };
            [one.route.name.clone(), carries, list::state(one.route)]
        })
        .collect();
    print_table(["ROUTE", "CARRIES IT", "STATE"], &rows);
}

fn shown(view: &MessageView, judged: &[Judged<'_>], waits: &str) -> Value {
    let routes: Vec<Value> = judged
        .iter()
        .map(|one| {
            json!({
                "name": one.route.name,
                "carries": one.misfit.is_none(),
                "why": one.misfit,
                "paused": one.route.paused,
                "health": one.route.state.health(),
                "usable": one.is_usable(),
            })
        })
        .collect();
    json!({
        "messageId": view.id.to_string(),
        "partner": view.partner,
        "type": view.kind,
        "phase": timeline::phase(view.phase),
        "lastRoute": view.route,
        "validUntil": view.valid_until.to_rfc3339(),
        "waitsFor": waits,
        "routes": routes,
    })
}
