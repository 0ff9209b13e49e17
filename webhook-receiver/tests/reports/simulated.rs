//! The simulated vendors, over HTTP both ways.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::clock::SystemClock;
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::Content;
use pabal_common::domain::report::Verdict;
use pabal_provider::adapter::{self, Account};
use pabal_provider::{Answer, Call, Outcome, Outgoing, Provider};
use pabal_simulator::{Family, Pace, Simulator, SimulatorConfig};
use pabal_webhook_receiver::{Config, Vendors};
use tokio_util::sync::CancellationToken;

use crate::house::House;

fn adapter(simulator: &Simulator, family: Family) -> Arc<dyn Provider> {
    let defaults = SimulatorConfig::default();
    let defaults = defaults.account(family);
    let account = Account {
        account: defaults.account.clone(),
        base_url: simulator.base_url(family).unwrap(),
        api_key: defaults.api_key.clone(),
        callback_secret: Some(defaults.callback_secret.clone()),
        settings: Default::default(),
        connect_timeout: Duration::from_secs(2),
        answer_timeout: Duration::from_secs(5),
    };
    adapter::build(family.name(), account).unwrap()
}

/// Has one message taken; the vendor's id of it.
async fn taken(vendor: &Arc<dyn Provider>, kind: MessageType, number: u64) -> String {
    let message = Outgoing {
        id: MessageId::from_number(number),
        kind,
        purpose: Purpose::Info,
        content: Content {
            to: "01012345600".to_owned(),
            from: Some("0212345678".to_owned()),
            text: "text".to_owned(),
            ..Content::default()
        },
        attachments: Vec::new(),
    };
    let call = Call {
        submission: SubmissionId::from_number(number),
        messages: vec![message],
    };
    match vendor.submit(&call).await {
        Outcome::Answered(answers) => match answers.as_slice() {
            [
                Answer::Taken {
                    vendor_id: Some(id),
                },
            ] => id.to_string(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn called_back_and_polled_reports_reach_the_queue() {
    let house = House::with_clock(Arc::new(SystemClock)).await;
    let process = house.process().await;
    process.live();
    let config = SimulatorConfig {
        pace: Pace {
            report: Duration::from_millis(10),
            ..Pace::default()
        },
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(config, CancellationToken::new())
        .await
        .unwrap();
    let lines = [
        (Family::Carrier, MessageType::Sms),
        (Family::Rcshub, MessageType::Rcs),
        (Family::Kakao, MessageType::KakaoBrandMessage),
    ];
    let adapters = lines.map(|(family, _)| adapter(&simulator, family));
    let vendors = Vendors::new(adapters.clone());
    let config = Config {
        poll_interval: Duration::from_millis(5),
        ..Config::default()
    };
    simulator.set_callback_base(&process.serve(&vendors, config).await);
    process.poll(&vendors, config);

    for ((vendor, (_, kind)), number) in adapters.iter().zip(lines).zip(1000..) {
        let id = taken(vendor, kind, number).await;
        let reports = house.reports(1).await;
        assert_eq!(&reports[0].account, vendor.account());
        assert_eq!(reports[0].verdict, Verdict::Delivered);
        let vendor_id = reports[0].vendor_id.as_ref().map(ToString::to_string);
        assert_eq!(vendor_id, Some(id));
    }
}
