//! `pabal template`

use std::fs;
use std::io::{Read as _, stdin};
use std::path::PathBuf;

use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::PartnerId;
use pabal_common::domain::message::Button;
use pabal_common::domain::template::{
    RegisteredTemplate, TemplateForm, TemplateKey, TemplateState,
};
use pabal_common::domain::text::normalise_newlines;
use pabal_common::http::ApiError;
use pabal_common::ledger::KeptTemplate;
use pabal_common::process::Visit;
use pabal_receiver::{ButtonRequest, check_template_form};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, no_such_partner, print_json, print_table, visit};
use crate::cli::Configuration;

/// Templates in one list.
const PAGE: u32 = 100;
/// The longest key of a sender profile, and the longest code of a template: those of a message.
const LONGEST_KEY: usize = 64;
const LONGEST_CODE: usize = 32;

const EXAMPLES: &str = "\
A partner's Alimtalk that names a registered template is held to it: its variables are filled in, and
text and buttons must be what it says. A running server obeys every change within two seconds.

Examples:
  pabal template add shop templates.json
  pabal template list shop
  pabal template suspend shop 0123456789abcdef0123456789abcdef01234567 ORDER_SHIPPED";

const ADD_EXAMPLES: &str = "\
The file holds one template or an array of them, as the channel approved them; - reads from the
standard input. One that is there under the same key is replaced. All of them are added or none.

  [{\"senderKey\": \"0123456789abcdef0123456789abcdef01234567\", \"code\": \"ORDER_SHIPPED\",
    \"text\": \"#{name}, your order #{no} is on its way.\",
    \"buttons\": [{\"type\": \"WL\", \"name\": \"Follow it\", \"url\": \"https://shop.example/#{no}\"}]}]";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Add templates that the channel approved, or replace them
    #[command(after_help = ADD_EXAMPLES)]
    Add(AddArguments),
    /// A partner's templates
    List(ListArguments),
    /// What a template says
    Show(OneArguments),
    /// Refuse messages that use a template
    Suspend(OneArguments),
    /// Allow a suspended template again
    Resume(OneArguments),
    /// Remove a template: its messages are no longer held to it
    Remove(OneArguments),
}

#[derive(clap::Args)]
pub(crate) struct AddArguments {
    /// Whose they are
    partner: PartnerId,
    /// A file of JSON, or - for the standard input
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct ListArguments {
    /// Whose
    partner: PartnerId,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct OneArguments {
    /// Whose it is
    partner: PartnerId,
    /// The key of the sender profile
    sender_key: String,
    /// The template's code
    code: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl OneArguments {
    fn key(&self) -> TemplateKey {
        TemplateKey {
            sender_key: self.sender_key.clone(),
            code: self.code.clone(),
        }
    }

    fn not_there(&self) -> Failure {
        Failure::failed(format!(
            "{} has no template {}; `pabal template list {}` shows them",
            self.partner, self.code, self.partner
        ))
    }
}

pub(crate) async fn run(with: &Configuration, command: Command) -> Result<(), Failure> {
    let values = with.load()?;
    let storage = visit(&values).await?;
    match command {
        Command::Add(arguments) => add(&storage, &arguments).await,
        Command::List(arguments) => list(&storage, &arguments).await,
        Command::Show(arguments) => show(&storage, &arguments).await,
        Command::Suspend(arguments) => turn(&storage, &arguments, TemplateState::Suspended).await,
        Command::Resume(arguments) => turn(&storage, &arguments, TemplateState::Approved).await,
        Command::Remove(arguments) => remove(&storage, &arguments).await,
    }
}

/// A template as the file has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    sender_key: String,
    code: String,
    text: String,
    #[serde(default)]
    buttons: Vec<ButtonRequest>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Many(Vec<Written>),
    One(Written),
}

async fn add(storage: &Visit, arguments: &AddArguments) -> Result<(), Failure> {
    if storage.ledger.partner(&arguments.partner).await?.is_none() {
        return Err(no_such_partner(&arguments.partner));
    }
    let templates = read(arguments)?;
    let now = SystemClock.now();
    storage.ledger.put_templates(&templates, now).await?;
    if arguments.json {
        print_json(&json!({"added": templates.len()}));
    } else {
        println!(
            "{} has {} more or newer templates.",
            arguments.partner,
            templates.len()
        );
    }
    Ok(())
}

fn read(arguments: &AddArguments) -> Result<Vec<RegisteredTemplate>, Failure> {
    let place = arguments.file.display();
    let unreadable = |error: &dyn std::fmt::Display| Failure::usage(format!("{place}: {error}"));
    let text = match arguments.file.to_str() {
        Some("-") => {
            let mut text = String::new();
            stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => fs::read_to_string(&arguments.file),
    };
    let text = text.map_err(|error| unreadable(&error))?;
    let written = match serde_json::from_str(&text) {
        Ok(File::Many(many)) => many,
        Ok(File::One(one)) => vec![one],
        // What is wrong with a list is told with its place.
        Err(_) => serde_json::from_str(&text).map_err(|error| unreadable(&error))?,
    };
    let templates = written.into_iter().enumerate().map(|(place, written)| {
        let wrong = |why| unreadable(&format!("template {} ({})", place + 1, why));
        template(&arguments.partner, written).map_err(wrong)
    });
    templates.collect()
}

fn template(partner: &PartnerId, written: Written) -> Result<RegisteredTemplate, String> {
    let is_word = |text: &str, longest| {
        (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !is_word(&written.sender_key, LONGEST_KEY) || !is_word(&written.code, LONGEST_CODE) {
        return Err(format!(
            "senderKey has 1 to {LONGEST_KEY} and code 1 to {LONGEST_CODE} visible ASCII characters"
        ));
    }
    let button = |button: ButtonRequest| Button {
        kind: button.kind.unwrap_or_default(),
        name: button.name.unwrap_or_default(),
        url: button.url,
    };
    let form = TemplateForm {
        text: normalise_newlines(&written.text),
        buttons: written.buttons.into_iter().map(button).collect(),
    };
    check_template_form(&form).map_err(|error| format!("{}: {}", written.code, told(&error)))?;
    Ok(RegisteredTemplate {
        partner: partner.clone(),
        key: TemplateKey {
            sender_key: written.sender_key,
            code: written.code,
        },
        form,
        state: TemplateState::Approved,
    })
}

/// A refusal as the operator needs it: where, and what would be right.
fn told(error: &ApiError) -> String {
    let details = error.details().iter().map(|detail| {
        let expected = detail.expected.as_deref().unwrap_or_default();
        let limit = detail
            .limit
            .map(|limit| format!(" {limit}"))
            .unwrap_or_default();
        format!("{} {}{limit} {expected}", detail.field, detail.rule)
    });
    let details: Vec<_> = details.map(|detail| detail.trim_end().to_owned()).collect();
    format!("{} {}", error.reason(), details.join(", "))
}

async fn list(storage: &Visit, arguments: &ListArguments) -> Result<(), Failure> {
    let partner = &arguments.partner;
    if storage.ledger.partner(partner).await?.is_none() {
        return Err(no_such_partner(partner));
    }
    let mut all: Vec<KeptTemplate> = Vec::new();
    loop {
        let after = all.last().map(|last| last.template.key.clone());
        let page = storage.ledger.list_templates(partner, after.as_ref(), PAGE);
        let page = page.await?;
        let is_last = page.len() < PAGE as usize;
        all.extend(page);
        if is_last {
            break;
        }
    }
    if arguments.json {
        let items: Vec<Value> = all.iter().map(view).collect();
        print_json(&json!({"items": items}));
    } else if all.is_empty() {
        println!("{partner} has no templates yet: pabal template add {partner} FILE");
    } else {
        let rows: Vec<_> = all.iter().map(cells).collect();
        print_table(
            ["SENDER KEY", "CODE", "STATE", "VARIABLES", "CHANGED"],
            &rows,
        );
    }
    Ok(())
}

async fn show(storage: &Visit, arguments: &OneArguments) -> Result<(), Failure> {
    let keys = [arguments.key()];
    let found = storage.ledger.templates(&arguments.partner, &keys).await?;
    let kept = found.first().ok_or_else(|| arguments.not_there())?;
    if arguments.json {
        print_json(&view(kept));
        return Ok(());
    }
    let [sender_key, code, state, variables, changed] = cells(kept);
    println!("{code} of {sender_key}, {state} since {changed}");
    println!("variables: {variables}");
    // A text of people must not command the terminal.
    let shown = |text: &str| text.replace(|c: char| c.is_control() && c != '\n', "?");
    println!("{}", shown(&kept.template.form.text));
    for button in &kept.template.form.buttons {
        let url = button.url.as_deref().unwrap_or_default();
        println!(
            "{}",
            shown(&format!("[{} {}] {url}", button.kind, button.name))
        );
    }
    Ok(())
}

async fn turn(
    storage: &Visit,
    arguments: &OneArguments,
    state: TemplateState,
) -> Result<(), Failure> {
    let (key, now) = (arguments.key(), SystemClock.now());
    let ledger = &storage.ledger;
    let is_there = ledger.set_template_state(&arguments.partner, &key, state, now);
    if !is_there.await? {
        return Err(arguments.not_there());
    }
    if arguments.json {
        return show(storage, arguments).await;
    }
    println!(
        "{} of {} is {}.",
        arguments.code,
        arguments.partner,
        state.name()
    );
    Ok(())
}

async fn remove(storage: &Visit, arguments: &OneArguments) -> Result<(), Failure> {
    let key = arguments.key();
    let removed = storage.ledger.remove_template(&arguments.partner, &key);
    if !removed.await? {
        return Err(arguments.not_there());
    }
    if arguments.json {
        print_json(&json!({"removed": arguments.code}));
    } else {
        println!("{} of {} was removed.", arguments.code, arguments.partner);
    }
    Ok(())
}

fn view(kept: &KeptTemplate) -> Value {
    let template = &kept.template;
    let button =
        |button: &Button| json!({"type": button.kind, "name": button.name, "url": button.url});
    json!({
        "senderKey": template.key.sender_key,
        "code": template.key.code,
        "text": template.form.text,
        "variables": template.form.variables(),
        "buttons": template.form.buttons.iter().map(button).collect::<Vec<_>>(),
        "state": template.state.name(),
        "updatedAt": kept.updated_at.to_rfc3339(),
    })
}

fn cells(kept: &KeptTemplate) -> [String; 5] {
    let template = &kept.template;
    let variables: Vec<&str> = template.form.variables().into_iter().collect();
    [
        template.key.sender_key.clone(),
        template.key.code.clone(),
        template.state.name().to_owned(),
        match variables.is_empty() {
            true => "-".to_owned(),
            false => variables.join(", "),
        },
        kept.updated_at.to_rfc3339(),
    ]
}
