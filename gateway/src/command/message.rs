//! `pabal message`

use pabal_common::domain::id::{ClientMsgId, MessageId, PartnerId};
use pabal_common::ledger::MessageView;
use pabal_common::process::Visit;
use pabal_gateway::timeline;
use serde_json::{Value, json};

use super::{Failure, no_such_partner, print_json, visit};
use crate::cli::Configuration;

const EXAMPLES: &str = "\
Shows when the message was accepted, claimed for a vendor call, sent and ended, and everything
unusual in between. Recipient and text are never shown.

Examples:
  pabal message show 0PZ4X9M2K7Q1A
  pabal message find --partner shop --client-msg-id order-1 --json";

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// The timeline of a message
    #[command(after_help = EXAMPLES)]
    Show {
        /// The messageId, 13 characters
        #[arg(value_name = "MESSAGE_ID")]
        id: MessageId,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The same by the partner's own id of the message
    #[command(after_help = EXAMPLES)]
    Find {
        /// Whose message
        #[arg(long, value_name = "ID")]
        partner: PartnerId,
        /// The clientMsgId the partner gave it
        #[arg(long, value_name = "CLIENT_MSG_ID")]
        client_msg_id: ClientMsgId,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(with: &Configuration, command: Command) -> Result<(), Failure> {
    let storage = visit(&with.load()?).await?;
    match command {
        Command::Show { id, json } => {
            let found = storage.ledger.message(id).await?;
            let view = found.ok_or_else(|| gone(&format!("with the id {id}")))?;
            show(&storage, &view, json).await
        }
        Command::Find {
            partner,
            client_msg_id,
            json,
        } => {
            if storage.ledger.partner(&partner).await?.is_none() {
                return Err(no_such_partner(&partner));
            }
            let found = storage
                .ledger
                .message_by_client_id(&partner, &client_msg_id)
                .await?;
            let whose = || gone(&format!("{client_msg_id} of partner {partner}"));
            show(&storage, &found.ok_or_else(whose)?, json).await
        }
    }
}

async fn show(storage: &Visit, view: &MessageView, as_json: bool) -> Result<(), Failure> {
    let events = storage.ledger.events(view.id).await?;
    if !as_json {
        print!("{}", timeline::render(view, &events));
        return Ok(());
    }
    let lines: Vec<Value> = timeline::timeline(view, &events)
        .into_iter()
        .map(|line| {
            let after = line.at.millis() - view.accepted_at.millis();
            json!({
                "at": line.at.to_rfc3339(), "afterMillis": after,
                "what": line.what, "detail": line.detail,
            })
        })
        .collect();
    print_json(&json!({"message": message(view), "timeline": lines}));
    Ok(())
}

fn message(view: &MessageView) -> Value {
    json!({
        "messageId": view.id.to_string(),
        "partner": view.partner,
        "clientMsgId": view.client_msg_id,
        "type": view.kind,
        "purpose": view.purpose,
        "lane": timeline::lane(view.lane),
        "status": view.status,
        "phase": timeline::phase(view.phase),
        "reason": view.reason,
        "vendorCode": view.vendor_code,
        "route": view.route,
        "account": view.account,
        "vendorMessageId": view.vendor_id,
        "acceptedAt": view.accepted_at.to_rfc3339(),
        "validUntil": view.valid_until.to_rfc3339(),
        "sentAt": view.sent_at.map(|at| at.to_rfc3339()),
        "finalAt": view.final_at.map(|at| at.to_rfc3339()),
    })
}

fn gone(which: &str) -> Failure {
    Failure::failed(format!(
        "there is no message {which} in this ledger; messages are deleted when their retention ends"
    ))
}
