//! How many messages are accepted in a second when partners send batches.

use super::{Scenario, flow};
use crate::command::bench::load::letter::{Kind, Letter};

/// Messages in one request.
const SIZE: usize = 100;

pub(super) const SCENARIO: Scenario = Scenario {
    connections: Some(8),
    remote: true,
    ..Scenario::new(
        "batch",
        "messages accepted a second, 100 a request",
        |stage, plan| {
            Box::pin(async move {
                let letter = Letter::batch(Kind::Sms, SIZE, &stage.from, &stage.mark());
                flow::run(stage, plan, letter).await
            })
        },
    )
};
