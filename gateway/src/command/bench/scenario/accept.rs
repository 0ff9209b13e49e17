//! How many single requests are accepted in a second, while senders and reporters work as in life.

use super::{Scenario, flow};
use crate::command::bench::load::letter::{Kind, Letter};
use crate::command::bench::peer::Contest;
use crate::command::bench::report::result::ACCEPTED_A_SECOND;

pub(super) const SCENARIO: Scenario = Scenario {
    connections: Some(64),
    remote: true,
    peers: Some(Contest {
        figure: ACCEPTED_A_SECOND,
        reports: &[true, false],
    }),
    ..Scenario::new(
        "accept",
        "messages accepted a second, one a request",
        |stage, plan| {
            Box::pin(async move {
                let letter = Letter::single(Kind::Sms, &stage.from, &stage.mark());
                flow::run(stage, plan, letter).await
            })
        },
    )
};
