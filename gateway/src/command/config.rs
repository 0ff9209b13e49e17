//! `pabal config`

use pabal_common::config::markdown_table;
use pabal_gateway::settings;
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
    let effective = with.load()?.effective();
    if arguments.json {
        let object: Map<String, Value> = effective
            .iter()
            .map(|one| {
                (
                    one.key.to_owned(),
                    json!({"value": one.value, "from": one.source.to_string()}),
                )
            })
            .collect();
        print_json(&Value::Object(object));
        return Ok(());
    }
    let rows: Vec<[String; 3]> = effective
        .into_iter()
        .map(|one| [one.key.to_owned(), one.value, one.source.to_string()])
        .collect();
    print_table(["SETTING", "VALUE", "FROM"], &rows);
    Ok(())
}
