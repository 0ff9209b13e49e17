//! `pabal reconcile`

use serde_json::json;

use super::{Failure, print_json, print_table, visit};
use crate::cli::Configuration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(with: &Configuration, arguments: Arguments) -> Result<(), Failure> {
    let storage = visit(&with.load()?).await?;
    let totals = storage.ledger.totals().await?;
    let differences = storage.ledger.reconcile().await?;
    if arguments.json {
        let totals: Vec<_> = totals
            .iter()
            .map(|row| {
                json!({
                    "partner": row.partner, "day": row.day.to_string(), "type": row.kind,
                    "accepted": row.accepted, "delivered": row.delivered, "failed": row.failed,
                    "expired": row.expired, "inFlight": in_flight(row),
                })
            })
            .collect();
        let found: Vec<_> = differences
            .iter()
            .map(|one| json!({"what": one.what, "messages": one.messages, "book": one.book}))
            .collect();
        print_json(&json!({"totals": totals, "differences": found}));
    } else {
        let rows: Vec<[String; 8]> = totals
            .iter()
            .map(|row| {
                [
                    row.partner.to_string(),
                    row.day.to_string(),
                    row.kind.to_string(),
                    row.accepted.to_string(),
                    row.delivered.to_string(),
                    row.failed.to_string(),
                    row.expired.to_string(),
                    in_flight(row).to_string(),
                ]
            })
            .collect();
        let headings = [
            "PARTNER",
            "DAY",
            "TYPE",
            "ACCEPTED",
            "DELIVERED",
            "FAILED",
            "EXPIRED",
            "IN FLIGHT",
        ];
        print_table(headings, &rows);
        for one in &differences {
            println!(
                "DIFFERENCE {}: messages say {}, the book says {}",
                one.what, one.messages, one.book
            );
        }
        if differences.is_empty() {
            println!("The books agree.");
        }
    }
    match differences.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed("the books do not agree")),
    }
}

const fn in_flight(row: &pabal_common::ledger::Totals) -> u64 {
    row.accepted - row.delivered - row.failed - row.expired
}
