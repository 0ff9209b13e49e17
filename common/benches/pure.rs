//! What the pure parts that every message passes through cost: no clock, no network, no disk.
//!
//! ```sh
//! cargo bench -p pabal-common --bench pure            # all of them
//! cargo bench -p pabal-common --bench pure -- text    # those whose name begins so
//! ```
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "what is measured is not there to fail"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pabal_common::broker::{FRAME_IDS, FrameVersion, Member, ReportFrame, SendFrame};
use pabal_common::clock::{ManualClock, Timestamp};
use pabal_common::crypto::{
    Keyring, Sealer, TokenIssuer, WebhookSecret, sign, verify_standard_webhook, verify_x_signature,
};
use pabal_common::domain::id::{Ids, InstanceId, MessageId, SubmissionId};
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::Content;
use pabal_common::domain::phase::{Event, Row, Settled, step};
use pabal_common::domain::phone::{Recipient, SenderNumber};
use pabal_common::domain::report::{Report, VendorAccount, Verdict};
use pabal_common::domain::text::{Unencodable, prepare};

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const SMS: &str = "안녕하세요, 파발입니다. 주문하신 상품이 발송되었습니다.";
/// Dashes, quotation marks and an ellipsis that EUC-KR has only as other characters.
const TYPOGRAPHIC: &str = "“주문” — 내일 도착… ‘확인’ 부탁드립니다 – 파발";

/// Counting the width of a text in EUC-KR, and writing what it has only otherwise.
fn text(bench: &mut Criterion) {
    let long = SMS.repeat(50);
    let mut group = bench.benchmark_group("text");
    for (name, kind, text) in [
        ("sms", MessageType::Sms, SMS),
        ("sms, transliterated", MessageType::Sms, TYPOGRAPHIC),
        ("lms of 50 times as much", MessageType::Lms, &long),
        ("alimtalk", MessageType::KakaoAlimtalk, SMS),
    ] {
        assert!(prepare(kind, text, Unencodable::Reject).is_ok(), "{name}");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| prepare(kind, black_box(text), Unencodable::Reject));
        });
    }
}

/// Reading numbers as partners write them.
fn phone(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("phone");
    for number in ["01012345678", "+82 10-1234-5678"] {
        assert!(number.parse::<Recipient>().is_ok(), "{number}");
        group.bench_function(format!("recipient {number}"), |bencher| {
            bencher.iter(|| black_box(number).parse::<Recipient>());
        });
    }
    group.bench_function("sender 02-1234-5678", |bencher| {
        bencher.iter(|| black_box("02-1234-5678").parse::<SenderNumber>());
    });
}

/// Making, writing and reading ids.
fn id(bench: &mut Criterion) {
    let ids = Ids::new(Arc::new(ManualClock::new(NOW)), 7);
    let id = ids.message();
    let text = id.to_string();
    let mut group = bench.benchmark_group("id");
    group.bench_function("make", |bencher| bencher.iter(|| ids.message()));
    group.bench_function("write", |bencher| {
        bencher.iter(|| black_box(id).to_string())
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| black_box(&text).parse::<MessageId>());
    });
}

/// Sealing what a message says, and opening it.
fn seal(bench: &mut Criterion) {
    let sealer = Sealer::new(&Keyring::generate());
    let id = MessageId::from_number(1 << 60);
    let content = Content {
        to: "01012345678".to_owned(),
        from: Some("0212345678".to_owned()),
        text: SMS.to_owned(),
        ..Content::default()
    };
    let plain = serde_json::to_vec(&content).unwrap();
    let sealed = sealer.seal(id, &plain);
    let mut group = bench.benchmark_group("seal");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    group.bench_function("seal an sms", |bencher| {
        bencher.iter(|| sealer.seal(id, black_box(&plain)));
    });
    group.bench_function("open an sms", |bencher| {
        bencher.iter(|| sealer.open(id, black_box(&sealed)));
    });
}

/// Writing and reading what goes through the broker.
fn frame(bench: &mut Criterion) {
    let version = FrameVersion::NEWEST;
    let mut group = bench.benchmark_group("frame");
    for count in [1, FRAME_IDS] {
        let member = |number| Member {
            id: MessageId::from_number(1 << 60 | number),
            attempt: 0,
        };
        let frame = SendFrame {
            kind: MessageType::Sms,
            queued_at: NOW,
            members: (0..count as u64).map(member).collect(),
        };
        let body = frame.encode(version);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("write {count} to send"), |bencher| {
            bencher.iter(|| black_box(&frame).encode(version));
        });
        group.bench_function(format!("read {count} to send"), |bencher| {
            bencher.iter(|| SendFrame::decode(black_box(&body)));
        });
        let reports = ReportFrame {
            reports: vec![report(); count],
        };
        let body = reports.encode(version);
        group.bench_function(format!("write {count} reports"), |bencher| {
            bencher.iter(|| black_box(&reports).encode(version));
        });
        group.bench_function(format!("read {count} reports"), |bencher| {
            bencher.iter(|| ReportFrame::decode(black_box(&body)));
        });
    }
}

/// Signing a webhook in both ways, and checking either.
fn webhook(bench: &mut Criterion) {
    let secret = WebhookSecret::generate();
    let seconds = NOW.unix_seconds();
    let tolerance = Duration::from_secs(60);
    let mut group = bench.benchmark_group("webhook");
    for (name, size) in [("of one result", 400), ("of a hundred results", 30_000)] {
        let body = vec![b'x'; size];
        let signed = sign(&secret, None, "0Q4JX2T7N8M9R", seconds, &body);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("sign one {name}"), |bencher| {
            bencher.iter(|| sign(&secret, None, "0Q4JX2T7N8M9R", seconds, black_box(&body)));
        });
        group.bench_function(format!("check X-Signature {name}"), |bencher| {
            let header = |name: &str| signed.get(name);
            bencher.iter(|| verify_x_signature(&secret, header, &body, NOW, tolerance));
        });
        group.bench_function(format!("check webhook-signature {name}"), |bencher| {
            let header = |name: &str| signed.get(name);
            bencher.iter(|| verify_standard_webhook(&secret, header, &body, NOW, tolerance));
        });
    }
}

/// Checking an access token.
fn token(bench: &mut Criterion) {
    let issuer = TokenIssuer::new(&Keyring::generate());
    let token = issuer.issue(&"shop".parse().unwrap(), 1, NOW, Duration::from_secs(60));
    assert!(issuer.verify(&token, NOW).is_ok());
    bench.bench_function("token/check", |bencher| {
        bencher.iter(|| issuer.verify(black_box(&token), NOW));
    });
}

/// The moves of a message that is taken at once and reported as delivered.
fn phase(bench: &mut Criterion) {
    let submission = SubmissionId::from_number(1 << 60);
    let account = report().account;
    let claim = Event::Claim {
        owner: InstanceId::from_number(1),
        submission,
        account: account.clone(),
        attempt: 0,
    };
    let settle = Event::Settle {
        submission,
        settled: Settled::Taken(None),
    };
    let end = Event::Report {
        account,
        vendor_id: None,
        by_our_id: true,
        submission: Some(submission),
        verdict: Verdict::Delivered,
    };
    let queued = Row::accepted();
    let claimed = step(&queued, &claim).unwrap().row;
    let answered = step(&claimed, &settle).unwrap().row;
    let mut group = bench.benchmark_group("phase");
    for (name, row, event) in [
        ("claim", &queued, &claim),
        ("settle", &claimed, &settle),
        ("end", &answered, &end),
    ] {
        assert!(step(row, event).is_some(), "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| step(black_box(row), black_box(event)));
        });
    }
}

/// What a vendor says of a message it has delivered.
fn report() -> Report {
    Report {
        account: VendorAccount::new("carrier", "main"),
        vendor_id: None,
        message: Some(MessageId::from_number(1 << 60)),
        submission: None,
        verdict: Verdict::Delivered,
        vendor_code: Some("1000".to_owned()),
        occurred_at: NOW,
    }
}

criterion_group!(pure, text, phone, id, seal, frame, webhook, token, phase);
criterion_main!(pure);
