//! The operator's commands beside many processes.

use std::process::Output;

use serde_json::Value;

use crate::partner::{accept, sms};
use crate::wait::until;
use crate::world::{Tempo, World};

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_work_beside_running_processes_and_show_no_password() {
    let world = World::new(Tempo::Quick).await;
    let migrated = json(&world.pabal(&["migrate", "--json"]));
    assert_eq!(
        (&migrated["migrated"], &migrated["madeKeys"]),
        (&true.into(), &false.into())
    );
    let all = [
        ("receiver", 0),
        ("sender", 0),
        ("reporter", 0),
        ("webhook-receiver", 0),
    ];
    let processes = world.run(&all).await;
    assert_eq!(
        json(&world.pabal(&["migrate", "--json"]))["madeKeys"],
        false
    );
    let partner = world.partner().await;
    let listed = said(&world.pabal(&["partner", "list"]));
    assert!(listed.contains("shop"), "{listed}");
    let message = accept(&world, &partner, &processes[0].base, &[sms("order-1", 0)]).await;
    until("the partner was told", async || {
        (partner.endpoint.taken() == 1).then_some(())
    })
    .await;
    let shown = json(&world.pabal(&["message", "show", &message[0], "--json"]));
    assert_eq!(shown["message"]["status"], "DELIVERED");
    assert_eq!(shown["message"]["clientMsgId"], "order-1");
    let find = [
        "message",
        "find",
        "--partner",
        "shop",
        "--client-msg-id",
        "order-1",
    ];
    assert!(said(&world.pabal(&find)).contains(&message[0]));
    let books = said(&world.pabal(&["reconcile"]));
    assert!(books.contains("The books agree."), "{books}");

    let masked = [
        ("ledger.url", "mysql://root:hunter2@127.0.0.1:3306/pabal"),
        ("broker.url", "amqp://guest:hunter2@127.0.0.1:5672/%2f"),
        ("quota.url", "redis://:hunter2@127.0.0.1:6379/0"),
    ];
    let settings = masked.map(|(key, url)| format!("{key}={url}"));
    let mut config = vec!["config"];
    for setting in &settings {
        config.extend(["--set", setting]);
    }
    for more in [&[][..], &["--json"]] {
        let shown = world.pabal(&[&config, more].concat());
        assert!(shown.status.success(), "{}", said(&shown));
        let shown = said(&shown);
        assert!(shown.contains("****@127.0.0.1:3306/pabal"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_ledger_is_refused_while_somebody_lives_and_nothing_queued_is_sent_after_it() {
    const MESSAGES: usize = 20;
    let world = World::new(Tempo::Quick).await;
    let mut processes = world.run(&[("receiver", 0), ("reporter", 0)]).await;
    let partner = world.partner().await;
    // Nobody sends them: their frames wait at the broker.
    let messages: Vec<_> = (0..MESSAGES).map(|n| sms(&format!("old-{n}"), 0)).collect();
    let ids = accept(&world, &partner, &processes[0].base, &messages).await;
    until("every frame is at the broker", async || {
        let rows = world.ground.number("SELECT count(*) FROM outbox").await;
        (rows == 0).then_some(())
    })
    .await;
    let restored = ["ledger", "restored", "--json"];
    let refused = world.pabal(&restored);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    for word in ["alive", "receiver", "reporter", "stop every one of them"] {
        assert!(said(&refused).contains(word), "{}", said(&refused));
    }
    let (left, killed) = processes.split_at_mut(1);
    left[0].stop().await;
    killed[0].kill();
    let refused = world.pabal(&restored);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(!said(&refused).contains("receiver"), "{}", said(&refused));
    let done = until("the lease of the killed one has lapsed", async || {
        let output = world.pabal(&restored);
        output.status.success().then_some(output)
    })
    .await;
    assert_eq!(json(&done)["unknown"], MESSAGES);

    let all = [
        ("receiver", 0),
        ("sender", 0),
        ("reporter", 0),
        ("webhook-receiver", 0),
    ];
    let _processes = world.run(&all).await;
    until("the partner was told of every message", async || {
        (partner.endpoint.taken() == MESSAGES).then_some(())
    })
    .await;
    let told = partner.endpoint.memory();
    for id in &ids {
        assert_eq!(told.results[id].reason.as_deref(), Some("UNKNOWN_OUTCOME"));
    }
    assert_eq!(world.site.simulator.taken_count(), 0);
    let books = world.pabal(&["reconcile"]);
    assert!(books.status.success(), "{}", said(&books));
}
