//! Which vendor accounts there are and which routes lead to them: from the configuration file, or,
//! without any, to the simulated vendors of this process.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::clock::Clock;
use pabal_common::config::Values;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::report::VendorAccount;
use pabal_provider::Provider;
use pabal_provider::adapter::{self, Account};
use pabal_provider::config::{Adapters, Lead, VendorError, Vendors};
use pabal_provider::route::{Carries, RouteSettings, RouteSpec, SpecError};
use pabal_simulator::{Family, Simulator};
use secrecy::SecretString;

use crate::settings;

/// The key and secret shared with the simulated vendors of this process.
const SIMULATOR_KEY: &str = "simulator-key";
const SIMULATOR_SECRET: &str = "simulator-secret";

/// From the file's tables; if it has none, from the simulator, if it runs.
///
/// # Errors
/// [`VendorError`] names the table and what is wrong with it.
pub fn configure(
    values: &Values,
    simulator: Option<&Simulator>,
    clock: Arc<dyn Clock>,
) -> Result<Vendors, VendorError> {
    match simulator {
        Some(simulator) if !settings::has_vendors(values) => {
            let adapters = simulated_accounts(simulator)?;
            let routes = simulated_routes(&adapters)?;
            Vendors::new(adapters, routes, clock)
        }
        _ => {
            let limits = pabal_sender::Config::from_values(values).limits();
            Vendors::from_values(values, Some(limits), clock)
        }
    }
}

fn simulated_accounts(simulator: &Simulator) -> Result<Adapters, VendorError> {
    let mut adapters = Adapters::new();
    for family in Family::EVERY_TYPE {
        let Ok(base_url) = simulator.base_url(family) else {
            continue;
        };
        let adapter = simulated(family, base_url)?;
        adapters.insert(adapter.account().clone(), adapter);
    }
    Ok(adapters)
}

fn simulated(family: Family, base_url: String) -> Result<Arc<dyn Provider>, VendorError> {
    let account = VendorAccount::new(family.name(), "main");
    let http = Account {
        account: account.clone(),
        base_url,
        api_key: SecretString::from(SIMULATOR_KEY),
        callback_secret: Some(SecretString::from(SIMULATOR_SECRET)),
        settings: settings_of(family),
        connect_timeout: Duration::from_secs(2),
        answer_timeout: Duration::from_secs(5),
    };
    adapter::build(family.name(), http).map_err(|cause| VendorError::Account { account, cause })
}

fn settings_of(family: Family) -> toml::Table {
    let settings = family.settings().iter();
    settings
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect()
}

fn simulated_routes(adapters: &Adapters) -> Result<Vec<Lead>, VendorError> {
    let routes = simulated_specs()?.into_iter();
    let routes = routes.filter_map(|(spec, account)| Some((spec, adapters.get(&account)?)));
    Ok(routes
        .map(|(spec, adapter)| (spec, Arc::clone(adapter)))
        .collect())
}

/// The routes to simulated vendors and their accounts: one a family, fast enough for the gateway to
/// be the limit.
///
/// # Errors
/// [`SpecError`], which nothing here gives cause for.
pub fn simulated_specs() -> Result<Vec<(RouteSpec, VendorAccount)>, SpecError> {
    let carried = [
        (
            Family::Carrier,
            vec![MessageType::Sms, MessageType::Lms, MessageType::Mms],
        ),
        (Family::Rcshub, vec![MessageType::Rcs]),
        (
            Family::Kakao,
            vec![MessageType::KakaoAlimtalk, MessageType::KakaoBrandMessage],
        ),
        (Family::Talk, vec![MessageType::NaverTalk]),
        (Family::Smtp, vec![MessageType::Email]),
    ];
    let route = |(family, kinds): (Family, Vec<MessageType>)| {
        let spec = RouteSpec::new(RouteSettings {
            name: format!("simulated-{}", family.name()),
            kinds,
            weight: 1,
            priority: 1,
            tps: 20_000,
            concurrency: 64,
            carries: Carries::default(),
        })?;
        Ok((spec, VendorAccount::new(family.name(), "main")))
    };
    carried.into_iter().map(route).collect()
}

#[cfg(test)]
mod tests {
    use pabal_common::clock::SystemClock;
    use pabal_simulator::SimulatorConfig;
    use tokio_util::sync::CancellationToken;

    use super::*;

    const OWN: &str = r#"
        [[account]]
        protocol = "carrier"
        name = "main"
        base_url = "https://sms.vendor.example"
        api_key = "key"
        callback_secret = "at-least-16-bytes"

        [[route]]
        name = "a"
        account = "carrier/main"
        kinds = ["SMS"]
        tps = 1
        concurrency = 1
    "#;

    fn configure(text: &str, simulator: &Simulator) -> Vendors {
        let file = Some(("pabal.toml".into(), text.to_owned()));
        let values = settings::load(file, std::iter::empty(), &[]).unwrap();
        super::configure(&values, Some(simulator), Arc::new(SystemClock)).unwrap()
    }

    fn accounts_of(vendors: &Vendors) -> Vec<String> {
        let mut names: Vec<_> = vendors.adapters.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn the_simulator_replaces_nothing_that_the_file_configures() {
        let config = SimulatorConfig::of(&Family::EVERY_TYPE);
        let simulator = Simulator::start(config, CancellationToken::new());
        let simulator = simulator.await.unwrap();
        let own = configure(OWN, &simulator);
        assert_eq!(accounts_of(&own), ["carrier/main"]);
        assert_eq!(own.routes.routes().len(), 1);
        let none = configure("", &simulator);
        assert_eq!(accounts_of(&none).len(), 5);
        assert_eq!(none.without_route(), []);
        simulator.stop().await;
    }
}
