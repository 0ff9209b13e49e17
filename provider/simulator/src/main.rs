//! `pabal-simulator`: the simulated vendors as a process of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use pabal_common::process::stop_on_signal;
use pabal_simulator::{Family, Simulator, SimulatorConfig, markdown_table};
use secrecy::SecretString;

/// Simulated message vendors: what becomes of a message is chosen by its recipient's last digits.
#[derive(Parser)]
#[command(name = "pabal-simulator", version)]
struct Arguments {
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The port of the SMS, LMS and MMS vendor (0: any free one).
    #[arg(long, default_value_t = 7001)]
    carrier_port: u16,
    /// The port of the RCS vendor.
    #[arg(long, default_value_t = 7002)]
    rcshub_port: u16,
    /// The port of the Kakao vendor.
    #[arg(long, default_value_t = 7003)]
    kakao_port: u16,
    /// The port of the TalkTalk vendor.
    #[arg(long, default_value_t = 7004)]
    talk_port: u16,
    /// The control port.
    #[arg(long, default_value_t = 7000)]
    control_port: u16,
    /// The address of the control port. It asks for no password: whoever reaches it decides what
    /// becomes of messages.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    control_bind: IpAddr,
    /// Where callbacks go, without `/callbacks/…`; can be set later over the control port.
    #[arg(long)]
    callback_base: Option<String>,
    /// The key callers must show.
    #[arg(long, env = "PABAL_SIMULATOR_API_KEY", hide_env_values = true)]
    api_key: Option<SecretString>,
    /// The secret that signs callbacks.
    #[arg(long, env = "PABAL_SIMULATOR_CALLBACK_SECRET", hide_env_values = true)]
    callback_secret: Option<SecretString>,
    /// A file that keeps the record of what was taken over a restart.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Prints the table of outcomes and ends.
    #[arg(long)]
    table: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.table {
        print!("{}", markdown_table());
        return Ok(());
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let stop = stop_on_signal("pabal-simulator").context("waiting for signals")?;
    let simulator = Simulator::start(config(&arguments), stop.clone()).await?;
    for family in simulator.addresses().into_keys() {
        println!("{family} {}", simulator.base_url(family)?);
    }
    if let Some(address) = simulator.control_address() {
        println!("control http://{address}");
    }
    stop.cancelled().await;
    simulator.stopped().await;
    Ok(())
}

fn config(arguments: &Arguments) -> SimulatorConfig {
    let mut config = SimulatorConfig {
        control: Some(SocketAddr::new(
            arguments.control_bind,
            arguments.control_port,
        )),
        callback_base: arguments.callback_base.clone(),
        record: arguments.record.clone(),
        ..SimulatorConfig::default()
    };
    let ports = [
        (Family::Carrier, arguments.carrier_port),
        (Family::Rcshub, arguments.rcshub_port),
        (Family::Kakao, arguments.kakao_port),
        (Family::Talk, arguments.talk_port),
    ];
    for (family, port) in ports {
        let account = config.account_mut(family);
        account.listen = SocketAddr::new(arguments.bind, port);
        if let Some(key) = &arguments.api_key {
            account.api_key = key.clone();
        }
        if let Some(secret) = &arguments.callback_secret {
            account.callback_secret = secret.clone();
        }
    }
    config
}
