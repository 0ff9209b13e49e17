//! The command line.

use clap::{Args, Parser, Subcommand};
use pabal_common::config::Values;
use pabal_common::process::{Arguments, Failure};
use pabal_gateway::settings;

use crate::command;

/// Pabal, a messaging gateway: one HTTP API to SMS, LMS, MMS, Kakao, Naver TalkTalk and RCS.
///
/// Without a command it runs `serve`: every service in this process, on SQLite in ./data, with
/// simulated vendors. `pabal demo` shows everything at work in a temporary folder.
#[derive(Parser)]
#[command(name = "pabal", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    configuration: Configuration,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  pabal                                      start everything; the first start prints credentials
  pabal --set http.address=0.0.0.0:8080      listen on every address
  pabal partner add shop --sender 02-0000-0000 --webhook-url https://shop.example/hook
  pabal message show 0PZ4X9M2K7Q1A           what happened to a message, step by step
  pabal route list                           how every route is, and who closed or paused it
  pabal reconcile                            do the books agree? exit code 1 if not
  pabal config                               every setting in force, and where it comes from

Exit codes: 0 done, 1 failed or (reconcile, demo, chaos, bench) not as expected, 2 wrong use or configuration.";

/// Where settings come from, and where they lead.
#[derive(Args, Clone)]
pub(crate) struct Configuration {
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Run the services (the default)
    Serve(command::serve::Arguments),
    /// Run everything in a temporary folder, send into every kind of trouble, check the books
    Demo(command::demo::Arguments),
    /// Partners: add, list, disable, enable, rotate secrets, allow sender numbers
    #[command(subcommand)]
    Partner(command::partner::Command),
    /// Routes: list, pause, resume, set, and why a message takes which
    #[command(subcommand)]
    Route(command::route::Command),
    /// Sender numbers: which are blocked because vendors refuse them, and allowing them again
    #[command(subcommand)]
    Sender(command::sender::Command),
    /// Templates of Alimtalk: add, list, show, suspend, resume, remove
    #[command(subcommand)]
    Template(command::template::Command),
    /// What happened to a message
    #[command(subcommand)]
    Message(command::message::Command),
    /// What was given up: list and send again
    #[command(subcommand)]
    DeadLetter(command::dead_letter::Command),
    /// Bring the schema up to date (serve does so by itself)
    Migrate(command::ledger::MigrateArguments),
    /// The ledger itself
    #[command(subcommand)]
    Ledger(command::ledger::Command),
    /// Compare the books: messages, daily statistics, phases; exit code 1 on a difference
    Reconcile(command::reconcile::Arguments),
    /// The settings in force, secrets masked
    Config(command::config::Arguments),
    /// The OpenAPI description of the HTTP API
    Openapi,
    /// One port in front of services that are processes of their own, for trying a cluster out
    Front(command::front::Arguments),
    /// Ask a service whether it is ready; exit code 0 if it is
    Health(command::health::Arguments),
    /// Run a cluster on private back-ends, let one part after the other fail, check the books
    Chaos(command::chaos::Arguments),
    /// Measure: messages a second, latency, processor time and memory, and that nothing is lost
    Bench(command::bench::Arguments),
}

impl Configuration {
    /// Reads the settings in force.
    pub(crate) fn load(&self) -> Result<Values, Failure> {
        let (file, flags) = (self.arguments.file()?, self.arguments.flags());
        settings::load(file, std::env::vars(), flags)
            .map_err(|error| Failure::usage(format!("configuration:\n{error}")))
    }

    /// The settings given by `--set`.
    pub(crate) fn flags(&self) -> &[(String, String)] {
        self.arguments.flags()
    }

    /// The same with more settings on top.
    pub(crate) fn with(&self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            arguments: self.arguments.with(more),
        }
    }
}

/// Runs the command line.
pub(crate) async fn run() -> Result<(), Failure> {
    let cli = Cli::parse();
    let serve = || Command::Serve(command::serve::Arguments::default());
    let with = &cli.configuration;
    match cli.command.unwrap_or_else(serve) {
        Command::Serve(arguments) => command::serve::run(with, arguments).await,
        Command::Demo(arguments) => command::demo::run(with, arguments).await,
        Command::Partner(what) => command::partner::run(with, what).await,
        Command::Route(what) => command::route::run(with, what).await,
        Command::Sender(what) => command::sender::run(with, what).await,
        Command::Template(what) => command::template::run(with, what).await,
        Command::Message(what) => command::message::run(with, what).await,
        Command::DeadLetter(what) => command::dead_letter::run(with, what).await,
        Command::Migrate(arguments) => command::ledger::migrate(with, arguments).await,
        Command::Ledger(what) => command::ledger::run(with, what).await,
        Command::Reconcile(arguments) => command::reconcile::run(with, arguments).await,
        Command::Config(arguments) => command::config::run(with, &arguments),
        Command::Front(arguments) => command::front::run(arguments).await,
        Command::Health(arguments) => command::health::run(arguments).await,
        Command::Chaos(arguments) => command::chaos::run(arguments).await,
        Command::Bench(arguments) => command::bench::run(with, arguments).await,
        Command::Openapi => command::openapi::run(with).await,
    }
}
