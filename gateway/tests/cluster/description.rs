//! What services that are programs of their own say of their API.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::process::{Process, command};
use crate::world::{Tempo, World};

/// Path and method of everything that is described.
fn operations(description: &Value) -> BTreeSet<(String, String)> {
    let paths = description["paths"].as_object().unwrap().iter();
    let of = |(path, methods): (&String, &Value)| {
        let methods: Vec<_> = methods.as_object().unwrap().keys().cloned().collect();
        let path = path.clone();
        methods
            .into_iter()
            .map(move |method| (path.clone(), method))
    };
    paths.flat_map(of).collect()
}

async fn described_at(base: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{base}/openapi.json")).send().await;
    answer.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_describes_its_own_part_of_the_api_and_the_front_that_for_sending() {
    let world = World::new(Tempo::Quick).await;
    let [receiver, reporter] =
        [("receiver", 0), ("reporter", 0)].map(|(role, n)| world.base(role, n));
    let _services = world.run(&[("receiver", 0), ("reporter", 0)]).await;
    let (sending, asking) = (described_at(&receiver).await, described_at(&reporter).await);
    for part in [&sending, &asking] {
        assert_eq!(part["info"]["title"], "Pabal");
        assert_eq!(
            part["components"]["securitySchemes"]["token"]["scheme"],
            "bearer"
        );
    }
    let parts = [operations(&sending), operations(&asking)];
    assert!(parts[0].is_disjoint(&parts[1]), "{parts:?}");
    let whole = world.pabal(&["openapi"]);
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(&parts[0] | &parts[1], operations(&whole));

    // No webhook-receiver runs: its place is free for the front.
    let front = world.base("webhook-receiver", 0);
    let address = |base: &str| base.trim_start_matches("http://").to_owned();
    let arguments = [
        ("--listen", &front),
        ("--receivers", &receiver),
        ("--reporters", &reporter),
        ("--webhook-receivers", &front),
    ];
    let arguments = arguments.map(|(flag, base)| [flag.to_owned(), address(base)]);
    let arguments = [vec!["front".to_owned()], arguments.concat()].concat();
    let log = world.site.logs[0].with_file_name("front.log");
    let mut process = Process::start(command("pabal", &arguments), front.clone(), log);
    process.ready().await;
    assert_eq!(described_at(&front).await, sending);
}
