//! `pabal config`

use std::path::PathBuf;
use std::sync::Arc;

use pabal_common::clock::SystemClock;
use pabal_common::config::{MASK, Values, markdown_table, mask_url};
use pabal_common::domain::kind::MessageType;
use pabal_common::process::Backends;
use pabal_gateway::{settings, vendors};
use pabal_provider::config::{AccountTable, RouteTable, Tables};
use pabal_reporter::ReporterConfig;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::{Failure, print_json, print_table};
use crate::cli::Configuration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Every setting with its default and meaning, as a Markdown table for the documentation
    #[arg(long, conflicts_with = "json")]
    reference: bool,
}

pub(crate) fn run(with: &Configuration, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.reference {
        print!("{}", markdown_table(settings::ALL));
        return Ok(());
    }
    let values = with.load()?;
    check(&values)?;
    let tables = Tables::read(&values).map_err(Failure::wrong_use)?;
    match arguments.json {
        true => print_json(&as_json(&values, &tables)),
        false => print(values, &tables),
    }
    Ok(())
}

/// What only a start would find: files of secrets, accounts, routes.
fn check(values: &Values) -> Result<(), Failure> {
    Backends::from_values(values).map_err(Failure::wrong_use)?;
    ReporterConfig::from_values(values).map_err(Failure::wrong_use)?;
    vendors::configure(values, None, Arc::new(SystemClock)).map_err(Failure::wrong_use)?;
    Ok(())
}

fn print(values: Values, tables: &Tables) {
    let settings = values.effective().into_iter();
    let rows: Vec<[String; 3]> = settings
        .map(|one| [one.key.to_owned(), one.value, one.source.to_string()])
        .collect();
    print_table(["SETTING", "VALUE", "FROM"], &rows);
    if !tables.accounts.is_empty() {
        println!();
        let headings = [
            "ACCOUNT",
            "BASE URL",
            "API KEY",
            "CALLBACK SECRET",
            "CONNECT",
            "ANSWER",
        ];
        let rows: Vec<_> = tables.accounts.iter().map(account_cells).collect();
        print_table(headings, &rows);
    }
    if !tables.routes.is_empty() {
        println!();
        let headings = [
            "ROUTE",
            "ACCOUNT",
            "TYPES",
            "WEIGHT",
            "PRIORITY",
            "TPS",
            "CONCURRENCY",
        ];
        let rows: Vec<_> = tables.routes.iter().map(route_cells).collect();
        print_table(headings, &rows);
    }
}

fn account_cells(account: &AccountTable) -> [String; 6] {
    [
        format!("{}/{}", account.protocol, account.name),
        mask_url(&account.base_url),
        secret(&account.api_key, &account.api_key_file),
        secret(&account.callback_secret, &account.callback_secret_file),
        format!("{}ms", account.connect_timeout_ms),
        format!("{}ms", account.answer_timeout_ms),
    ]
}

/// A secret masked, or where it is.
fn secret(plain: &Option<SecretString>, file: &Option<PathBuf>) -> String {
    match (plain, file) {
        (None, Some(path)) => path.display().to_string(),
        _ => MASK.to_owned(),
    }
}

fn route_cells(route: &RouteTable) -> [String; 7] {
    [
        route.name.clone(),
        route.account.clone(),
        kinds(route).join(","),
        route.weight.to_string(),
        route.priority.to_string(),
        route.tps.to_string(),
        route.concurrency.to_string(),
    ]
}

fn kinds(route: &RouteTable) -> Vec<String> {
    route.kinds.iter().map(MessageType::to_string).collect()
}

fn as_json(values: &Values, tables: &Tables) -> Value {
    let settings = values.effective().into_iter().map(|one| {
        let shown = json!({"value": one.value, "from": one.source.to_string()});
        (one.key.to_owned(), shown)
    });
    let accounts: Vec<Value> = tables.accounts.iter().map(account_json).collect();
    let routes: Vec<Value> = tables.routes.iter().map(route_json).collect();
    let mut object: Map<String, Value> = settings.collect();
    object.insert("account".to_owned(), accounts.into());
    object.insert("route".to_owned(), routes.into());
    Value::Object(object)
}

fn account_json(account: &AccountTable) -> Value {
    json!({
        "protocol": account.protocol,
        "name": account.name,
        "base_url": mask_url(&account.base_url),
        "api_key": account.api_key.as_ref().map(|_| MASK),
        "api_key_file": account.api_key_file,
        "callback_secret": account.callback_secret.as_ref().map(|_| MASK),
        "callback_secret_file": account.callback_secret_file,
        "settings": account.settings,
        "connect_timeout_ms": account.connect_timeout_ms,
        "answer_timeout_ms": account.answer_timeout_ms,
    })
}

fn route_json(route: &RouteTable) -> Value {
    json!({
        "name": route.name,
        "account": route.account,
        "kinds": kinds(route),
        "weight": route.weight,
        "priority": route.priority,
        "tps": route.tps,
        "concurrency": route.concurrency,
        "partners": route.partners,
        "prefixes": route.prefixes,
        "limits": route.limits,
    })
}
