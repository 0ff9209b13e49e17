//! How many messages a second go the whole way, from the request to the webhook that tells their end.
//!
//! Usually the vendor takes up to a hundred in a call and reports them by callback, and a webhook tells
//! up to a hundred results. With `--single` each message costs a vendor call and a webhook of its own:
//! Naver TalkTalk takes one message a call, and answers finally.

use super::{Scenario, flow};
use crate::command::bench::load::letter::{Kind, Letter};
use crate::command::bench::peer::Contest;
use crate::command::bench::report::result::TOLD_A_SECOND;
use crate::command::bench::stage::Needs;

pub(super) const SCENARIO: Scenario = Scenario {
    connections: Some(64),
    single: true,
    peers: Some(Contest {
        figure: TOLD_A_SECOND,
        reports: &[true],
    }),
    needs: |plan| match plan.single {
        true => Needs {
            webhook_batch: 1,
            ..Needs::USUAL
        },
        false => Needs::USUAL,
    },
    ..Scenario::new(
        "e2e",
        "messages a second from the request to the webhook that tells their end",
        |stage, plan| {
            Box::pin(async move {
                let kind = match plan.single {
                    true => Kind::Talk,
                    false => Kind::Sms,
                };
                let letter = Letter::single(kind, &stage.from, &stage.mark());
                flow::run(stage, plan, letter).await
            })
        },
    )
};
