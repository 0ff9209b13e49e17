//! The text of the configuration file: where the back-ends are, and the simulated vendors.

use std::fmt::Write as _;

use pabal_simulator::{Family, Simulator};

/// How fast the routes to the simulated vendors are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speed {
    /// Messages a second, of each route.
    pub(crate) tps: u32,
    /// Calls at once, of each route.
    pub(crate) concurrency: u32,
}

/// The three back-ends as tables of the file.
pub(crate) fn servers(ledger: &str, broker: &str, quota: &str) -> String {
    format!(
        r#"
[ledger]
url = "{ledger}"

[broker]
url = "{broker}"

[quota]
url = "{quota}"
"#
    )
}

/// An account and a route for each simulated vendor of the reference protocols.
pub(crate) fn vendors(simulator: &Simulator, speed: Speed) -> String {
    let Speed { tps, concurrency } = speed;
    let mut text = String::new();
    for (family, kinds) in [
        (Family::Carrier, r#""SMS", "LMS", "MMS""#),
        (Family::Rcshub, r#""RCS""#),
        (Family::Kakao, r#""KAKAO_ALIMTALK", "KAKAO_BRAND_MESSAGE""#),
        (Family::Talk, r#""NAVER_TALK""#),
    ] {
        let Ok(url) = simulator.base_url(family) else {
            continue;
        };
        let _ = write!(
            text,
            r#"
[[account]]
protocol = "{family}"
name = "main"
base_url = "{url}"
api_key = "simulator-key"
callback_secret = "simulator-secret"

[[route]]
name = "{family}"
account = "{family}/main"
kinds = [{kinds}]
tps = {tps}
concurrency = {concurrency}
"#
        );
    }
    text
}
