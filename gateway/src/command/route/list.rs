//! `pabal route list`

use pabal_common::domain::kind::MessageType;
use pabal_provider::route::RouteSpec;
use serde_json::{Value, json};

use super::plan::{Planned, State};
use super::{Desk, print_json};
use crate::command::{Failure, print_table};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(desk: &Desk, arguments: &Arguments) -> Result<(), Failure> {
    let routes = desk.plan().await?.routes;
    if arguments.json {
        let items: Vec<Value> = routes.iter().map(as_json).collect();
        print_json(&json!({"items": items}));
    } else if routes.is_empty() {
        println!(
            "There are no routes yet: add [[route]] tables to the file, or `pabal route set`."
        );
    } else {
        let rows: Vec<_> = routes.iter().map(cells).collect();
        let headings = [
            "ROUTE", "ACCOUNT", "TYPES", "PRIORITY", "WEIGHT", "TPS", "CARRIES", "FROM", "STATE",
        ];
        print_table(headings, &rows);
    }
    Ok(())
}

pub(super) fn as_json(route: &Planned) -> Value {
    let mut shown = json!({
        "name": route.name,
        "from": route.source.name(),
        "paused": route.paused,
        "health": route.state.health(),
    });
    if let State::Told(told) = &route.state {
        shown["since"] = told.since.to_rfc3339().into();
        shown["closed"] = route.state.closed().map(|why| why.name()).into();
        if told.health == "OVERLOAD" {
            shown["rate"] = told.rate.into();
        }
    }
    match &route.route {
        Ok((spec, account)) => {
            let carries = spec.carries();
            shown["account"] = account.to_string().into();
            shown["types"] = json!(spec.kinds());
            shown["priority"] = spec.priority().into();
            shown["weight"] = spec.weight().into();
            shown["tps"] = spec.tps().into();
            shown["concurrency"] = spec.concurrency().into();
            shown["partners"] = json!(carries.partners);
            shown["prefixes"] = json!(carries.prefixes);
            shown["limits"] = json!(carries.limits);
        }
        Err(error) => shown["error"] = error.as_str().into(),
    }
    shown
}

fn cells(route: &Planned) -> [String; 9] {
    let state = state(route);
    let (name, from) = (route.name.clone(), route.source.name().to_owned());
    match &route.route {
        Ok((spec, account)) => [
            name,
            account.to_string(),
            kinds(spec).join(","),
            spec.priority().to_string(),
            spec.weight().to_string(),
            spec.tps().to_string(),
            carries(spec),
            from,
            state,
        ],
        Err(error) => {
            let nothing = || "-".to_owned();
            let cannot = format!("cannot be used: {error}");
            [
                name,
                nothing(),
                nothing(),
                nothing(),
                nothing(),
                nothing(),
                nothing(),
                from,
                cannot,
            ]
        }
    }
}

/// How a route is, in words.
pub(super) fn state(route: &Planned) -> String {
    let health = match (&route.state, route.state.closed()) {
        (State::Unknown, _) => "no sender runs".to_owned(),
        (State::Told(told), Some(why)) => {
            format!(
                "closed by the vendor ({why}) since {}",
                told.since.to_rfc3339()
            )
        }
        (State::Told(told), None) if told.health == "OVERLOAD" => {
            format!("OVERLOAD, from {} a second up", told.rate)
        }
        (State::Told(told), None) if told.health == "FAIL" => {
            format!("FAIL since {}", told.since.to_rfc3339())
        }
        _ => "OK".to_owned(),
    };
    match route.paused {
        true => format!("PAUSED, {health}"),
        false => health,
    }
}

fn kinds(spec: &RouteSpec) -> Vec<String> {
    spec.kinds().iter().map(MessageType::to_string).collect()
}

fn carries(spec: &RouteSpec) -> String {
    let it = spec.carries();
    let partners = it.partners.iter().map(|id| format!("of {id}"));
    let prefixes = it.prefixes.iter().map(|digits| format!("to {digits}…"));
    let limits = it
        .limits
        .iter()
        .map(|(kind, most)| format!("{kind} up to {most}"));
    let all: Vec<String> = partners.chain(prefixes).chain(limits).collect();
    match all.is_empty() {
        true => "all".to_owned(),
        false => all.join(", "),
    }
}
