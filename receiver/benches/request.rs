//! What it costs to read a request: the JSON of one message, and of a batch.
//!
//! ```sh
//! cargo bench -p pabal-receiver --bench request
//! ```
#![allow(missing_docs, reason = "a benchmark is nobody's interface")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pabal_receiver::MessageRequest;

const ONE: &str = r#"{"clientMsgId":"order-1001","type":"SMS","to":"010-1234-5678","from":"02-1234-5678","text":"주문하신 상품이 발송되었습니다."}"#;
/// Messages in a batch.
const SIZE: usize = 100;

fn request(bench: &mut Criterion) {
    let batch = format!("[{}]", vec![ONE; SIZE].join(","));
    assert!(serde_json::from_str::<Vec<MessageRequest>>(&batch).is_ok());
    let mut group = bench.benchmark_group("request");
    group.throughput(Throughput::Bytes(ONE.len() as u64));
    group.bench_function("one", |bencher| {
        bencher.iter(|| serde_json::from_slice::<MessageRequest>(black_box(ONE.as_bytes())));
    });
    group.throughput(Throughput::Bytes(batch.len() as u64));
    group.bench_function("a hundred", |bencher| {
        bencher.iter(|| serde_json::from_slice::<Vec<MessageRequest>>(black_box(batch.as_bytes())));
    });
}

criterion_group!(requests, request);
criterion_main!(requests);
