//! `pabal route`

use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_common::config::Values;
use pabal_common::domain::id::MessageId;
use pabal_common::process::Visit;

use super::{Failure, print_json, visit};
use crate::cli::Configuration;

mod explain;
mod list;
mod plan;
mod set;

use plan::{Plan, Planned};

/// Every sender obeys a change within two seconds. What is changed here is kept in the ledger, beside
/// the routes of the configuration file; a route of the same name stands in the place of the file's.
#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// How every route is: open, closed and why, paused
    List(list::Arguments),
    /// Which routes carry a message, why the others do not, and what it waits for
    Explain {
        /// The messageId, 13 characters
        #[arg(value_name = "MESSAGE_ID")]
        id: MessageId,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send nothing more on a route; calls on their way end as they do
    Pause(Named),
    /// Use a route again
    Resume(Named),
    /// Add a route, or replace one as a whole; a pause goes on
    #[command(after_help = set::EXAMPLES)]
    Set(set::Arguments),
    /// Forget what was set of a route here, a pause too: what the configuration file says holds again
    Remove(Named),
}

const EXAMPLES: &str = "\
Examples:
  pabal route list
  pabal route explain 0PZ4X9M2K7Q1A
  pabal route pause sms-a
  pabal route set sms-b --account carrier/second --type SMS --type LMS --tps 100 --concurrency 8";

#[derive(clap::Args)]
pub(crate) struct Named {
    /// The route's name
    name: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(with: &Configuration, command: Command) -> Result<(), Failure> {
    let desk = Desk::open(with.load()?).await?;
    match command {
        Command::List(arguments) => list::run(&desk, &arguments).await,
        Command::Explain { id, json } => explain::run(&desk, id, json).await,
        Command::Pause(named) => pause(&desk, &named, true).await,
        Command::Resume(named) => pause(&desk, &named, false).await,
        Command::Set(arguments) => set::run(&desk, arguments).await,
        Command::Remove(named) => remove(&desk, &named).await,
    }
}

/// The routes of this configuration and ledger.
struct Desk {
    values: Values,
    storage: Visit,
}

impl Desk {
    async fn open(values: Values) -> Result<Self, Failure> {
        let storage = visit(&values).await?;
        Ok(Self { values, storage })
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn plan(&self) -> Result<Plan, Failure> {
        let kept = self.storage.ledger.routes().await?;
        let told = self.storage.ledger.told_health().await?;
        Plan::new(&self.values, &kept, told)
    }

    /// A route that there is.
    async fn route(&self, name: &str) -> Result<Planned, Failure> {
        let plan = self.plan().await?;
        plan.routes
            .into_iter()
            .find(|route| route.name == name)
            .ok_or_else(|| {
                Failure::failed(format!(
                    "there is no route named {name}; `pabal route list` shows them"
                ))
            })
    }

    /// Says what was changed, or shows the route as it is now.
    async fn changed(&self, named: &Named, said: &str) -> Result<(), Failure> {
        match named.json {
            true => print_json(&list::as_json(&self.route(&named.name).await?)),
            false => println!("{said}"),
        }
        Ok(())
    }
}

async fn pause(desk: &Desk, named: &Named, paused: bool) -> Result<(), Failure> {
    let name = &desk.route(&named.name).await?.name;
    let ledger = &desk.storage.ledger;
    ledger.pause_route(name, paused, desk.now()).await?;
    let said = match paused {
        true => format!("{name} is paused: senders obey within two seconds."),
        false => format!("{name} is used again: senders obey within two seconds."),
    };
    desk.changed(named, &said).await
}

async fn remove(desk: &Desk, named: &Named) -> Result<(), Failure> {
    let name = &named.name;
    if !desk.storage.ledger.forget_route(name).await? {
        return Err(Failure::failed(format!(
            "nothing was set of a route named {name}: routes of the configuration file are removed there"
        )));
    }
    let plan = desk.plan().await?;
    let stays = plan.routes.iter().find(|route| route.name == *name);
    match (named.json, stays) {
        (true, route) => print_json(&serde_json::json!({
            "removed": name, "route": route.map(list::as_json),
        })),
        (false, Some(_)) => println!("{name} is again as the configuration file has it."),
        (false, None) => println!("{name} is removed: senders obey within two seconds."),
    }
    Ok(())
}
