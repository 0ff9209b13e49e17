//! The adapter bound to the message centre of the `smpp34` crate.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::Content;
use pabal_common::domain::report::{Report, VendorAccount, Verdict};
use pabal_provider::adapter::{self, Account};
use pabal_provider::{
    Answer, Call, Closed, Outcome, Outgoing, Provider, ReportDesk, ReportsNotKept,
};
use secrecy::SecretString;
use smpp34::server::ESME;
use smpp34::{
    SmppConnectionInformation, SmppError, SmppServer, SmppServerListener, bind_transceiver,
    bind_transceiver_resp, submit_sm, submit_sm_resp,
};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(30);

struct Centre {
    bound: mpsc::UnboundedSender<ESME>,
    submitted: Mutex<Vec<submit_sm>>,
}

#[async_trait]
impl SmppServerListener for Centre {
    async fn on_bind_transceiver(
        &self,
        bind: bind_transceiver,
        _: &SmppConnectionInformation,
        _: &String,
    ) -> bind_transceiver_resp {
        if bind.system_id == "pabal" && bind.password == "secret08" {
            bind.accept("smpp34".to_owned(), Some(0x34))
        } else {
            bind.reject(SmppError::ESME_RINVPASWD)
        }
    }

    async fn on_submit_sm(
        &self,
        message: submit_sm,
        _: &SmppConnectionInformation,
        _: &String,
    ) -> submit_sm_resp {
        let number = {
            let mut submitted = self.submitted.lock().unwrap();
            submitted.push(message.clone());
            submitted.len()
        };
        if message.destination_addr.ends_with("55") {
            message.reject(SmppError::ESME_RINVDSTADR)
        } else {
            message.accept(format!("00A{number}"))
        }
    }

    async fn on_esme_bound(&self, esme: ESME, _: &String) {
        let _ = self.bound.send(esme);
    }
}

struct Desk(mpsc::UnboundedSender<Report>);

#[async_trait]
impl ReportDesk for Desk {
    async fn keep(&self, _: &VendorAccount, reports: Vec<Report>) -> Result<(), ReportsNotKept> {
        for report in reports {
            self.0.send(report).unwrap();
        }
        Ok(())
    }
}

struct World {
    centre: Arc<Centre>,
    server: SmppServer,
    bound: mpsc::UnboundedReceiver<ESME>,
    provider: Arc<dyn Provider>,
    reports: mpsc::UnboundedReceiver<Report>,
    stop: CancellationToken,
    connected: tokio::task::JoinHandle<()>,
}

impl World {
    async fn new(password: &str, settings: &str) -> Self {
        let (bound_sender, bound) = mpsc::unbounded_channel();
        let centre = Arc::new(Centre {
            bound: bound_sender,
            submitted: Mutex::default(),
        });
        let port = free_port().await;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut server = SmppServer::new(loopback, port, Arc::clone(&centre) as _);
        server.start().await;
        let account = Account {
            account: VendorAccount::new("smpp", "main"),
            base_url: format!("smpp://127.0.0.1:{port}"),
            api_key: SecretString::from(password.to_owned()),
            callback_secret: None,
            settings: format!("system_id = 'pabal'\n{settings}").parse().unwrap(),
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(10),
        };
        let provider = adapter::build("smpp", account).unwrap();
        let (sender, reports) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let connected = tokio::spawn({
            let (provider, stop) = (Arc::clone(&provider), stop.clone());
            async move { provider.stay_connected(Arc::new(Desk(sender)), stop).await }
        });
        Self {
            centre,
            server,
            bound,
            provider,
            reports,
            stop,
            connected,
        }
    }

    async fn bound(&mut self) -> ESME {
        let esme = timeout(DEADLINE, self.bound.recv()).await;
        while self.provider.probe().await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        esme.expect("a bind comes").unwrap()
    }

    async fn end(mut self) {
        self.stop.cancel();
        timeout(DEADLINE, self.connected).await.unwrap().unwrap();
        self.server.stop().await;
    }
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

fn call(recipients: &[&str], text: &str) -> Call {
    let message = |(number, to): (u64, &&str)| Outgoing {
        id: MessageId::from_number(number),
        kind: MessageType::Lms,
        purpose: Purpose::Info,
        attachments: Vec::new(),
        content: Content {
            to: (*to).to_owned(),
            from: Some("0212345678".to_owned()),
            text: text.to_owned(),
            ..Content::default()
        },
    };
    Call {
        submission: SubmissionId::from_number(1),
        messages: (1..).zip(recipients).map(message).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_taken_or_refused_and_reported_over_the_bind() {
    let mut world = World::new("secret08", "data_coding = 0x84\nreference_tag = 0x1401").await;
    let esme = world.bound().await;
    let call = call(&["01012345600", "01012345655"], "가A");
    let outcome = world.provider.submit(&call).await;
    let Outcome::Answered(answers) = &outcome else {
        panic!("{outcome:?}");
    };
    let [Answer::Taken { vendor_id }, Answer::Refused { code, .. }] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert_eq!(vendor_id.as_ref().unwrap().as_str(), "a1");
    assert_eq!(code, "0x0B");
    {
        let submitted = world.centre.submitted.lock().unwrap();
        assert_eq!(submitted[0].source_addr, "0212345678");
        assert_eq!(submitted[0].short_message, [0xB0, 0xA1, 0x41]);
        assert_eq!(
            (submitted[0].data_coding, submitted[0].registered_delivery),
            (0x84, 1)
        );
    }
    let answered = esme
        .deliver_sm()
        .source_addr("01012345600")
        .destination_addr("0212345678")
        .esm_class(0x04)
        .short_message(b"id:A1 sub:001 dlvrd:001 stat:DELIVRD err:000 text:")
        .send()
        .await;
    assert!(answered.is_ok());
    let report = timeout(DEADLINE, world.reports.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(report.verdict, Verdict::Delivered);
    assert_eq!(&report.vendor_id, vendor_id);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_arrives_whole_by_each_way() {
    for (long, messages) in [("payload", 1), ("udh", 3), ("sar", 3)] {
        let mut world = World::new("secret08", &format!("long = '{long}'")).await;
        world.bound().await;
        let call = call(&["01012345600"], &"가".repeat(135));
        let outcome = world.provider.submit(&call).await;
        assert!(
            matches!(&outcome, Outcome::Answered(answers) if matches!(answers[..], [Answer::Taken { .. }]))
        );
        assert_eq!(
            world.centre.submitted.lock().unwrap().len(),
            messages,
            "{long}"
        );
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_closes_the_account() {
    let world = World::new("wrong", "").await;
    let told = async {
        loop {
            let outcome = world.provider.submit(&call(&["01012345600"], "A")).await;
            if let Outcome::Closed { why, .. } = outcome {
                return why;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(timeout(DEADLINE, told).await.unwrap(), Closed::Credentials);
    world.end().await;
}
