//! What is wrong for good ends a program with 2 and one sentence that names the setting and the
//! remedy.

use std::process::{Child, Command, Stdio};

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;

use crate::ground::Ground;
use crate::wait::until;
use crate::world::{Tempo, World};

const ROLES: [&str; 4] = ["receiver", "sender", "reporter", "webhook-receiver"];

/// Starts one of the services with these settings on top: it ends with 2, and what it says last has
/// all of `words`; nowhere does it show the password.
async fn refused(world: &World, role: &'static str, settings: &[String], words: &[&str]) {
    let mut process = world.start_with(role, 0, settings);
    let code = process.ended().await;
    let said = process.said();
    assert_eq!(code, Some(2), "{settings:?}: {said}");
    let last = said.rsplit_once(&format!("pabal-{role}: "));
    let last = last.map_or("", |(_, last)| last);
    for word in words {
        assert!(last.contains(word), "{word:?}: {settings:?}: {said}");
    }
    assert!(!said.contains("hunter2"), "{settings:?}: {said}");
    assert!(!said.contains("panicked"), "{settings:?}: {said}");
}

/// The same for each of many mistakes, by one service after the other.
async fn each_refused(world: &World, mistakes: Vec<(Vec<String>, Vec<&str>)>) {
    let roles = ROLES.into_iter().cycle();
    for ((settings, words), role) in mistakes.into_iter().zip(roles) {
        refused(world, role, &settings, &words).await;
    }
}

/// The URL with another user.
fn as_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{user}@{place}")
}

/// The URL with another path.
fn at_path(url: &str, path: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let authority = rest.split('/').next().unwrap();
    format!("{scheme}://{authority}/{path}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_schema_or_vhost_that_is_refused_is_told_with_its_setting() {
    let world = World::new(Tempo::Calm).await;
    let Ground { ledger, broker, .. } = &world.ground;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let file = file.path().display();
    let login: &[&str] = &["refuses the login", "ledger.url", "ledger.password_file"];
    let broker_login: &[&str] = &["broker.password_file", "refuses user", "check the password"];
    let mistakes = [
        (
            format!("ledger.url={}", as_user(ledger, "root:hunter2")),
            login,
        ),
        (
            format!("ledger.url={}", as_user(ledger, "nobody:hunter2")),
            login,
        ),
        (format!("ledger.password_file={file}"), login),
        (
            format!("ledger.url={}", at_path(ledger, "no_such_schema")),
            &["ledger.url", "no such schema", "CREATE DATABASE"],
        ),
        (
            format!("broker.url={}", at_path(broker, "no-such-vhost")),
            &["broker.url", "no-such-vhost", "rabbitmqctl add_vhost"],
        ),
        (
            format!("broker.url={}", as_user(broker, "guest:hunter2")),
            broker_login,
        ),
        (
            format!("broker.url={}", as_user(broker, "nobody:hunter2")),
            broker_login,
        ),
        (format!("broker.password_file={file}"), broker_login),
    ];
    let mistakes = mistakes.map(|(setting, words)| (vec![setting], words.to_vec()));
    each_refused(&world, mistakes.to_vec()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_is_none_or_leads_to_another_server_is_told_with_its_setting() {
    let world = World::new(Tempo::Calm).await;
    let ground = &world.ground;
    let mysql = Ground::address(&ground.ledger);
    let mistakes: [(String, &[&str]); 10] = [
        (
            "ledger.url=mysql://root:hunter2@127.0.0.1:99999/pabal".into(),
            &["ledger.url"],
        ),
        (
            "ledger.url=mysql://root:hunter2@127.0.0.1:3306/".into(),
            &["ledger.url", "schema"],
        ),
        (
            "ledger.url=mysql://root:hunter2@127.0.0.1:3306".into(),
            &["ledger.url", "schema"],
        ),
        (
            "ledger.url=postgres://root:hunter2@127.0.0.1/pabal".into(),
            &["ledger.url", "mysql://"],
        ),
        (
            "broker.url=amqp://guest:hunter2@127.0.0.1:port/".into(),
            &["broker.url"],
        ),
        (
            "broker.url=http://guest:hunter2@127.0.0.1/".into(),
            &["broker.url", "amqp://"],
        ),
        (
            format!("broker.url=amqp://guest:hunter2@{mysql}/"),
            &["broker.url", "does not speak AMQP", "check host and port"],
        ),
        (
            "quota.url=redis://:hunter2@127.0.0.1:port/0".into(),
            &["quota.url"],
        ),
        (
            "quota.url=redis://:hunter2@127.0.0.1:6379/none".into(),
            &["quota.url", "redis://"],
        ),
        (
            format!("quota.url=redis://{mysql}"),
            &["quota.url", "not Redis", "correct the host and the port"],
        ),
    ];
    let mistakes = mistakes.map(|(setting, words)| (vec![setting], words.to_vec()));
    each_refused(&world, mistakes.to_vec()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_may_not_be_read_or_written_is_told_with_the_remedy() {
    let world = World::new(Tempo::Calm).await;
    // The user has the schema's name.
    let user = &world.ground.name;
    world
        .ground
        .run(&[
            &format!("CREATE USER {user}@'%' IDENTIFIED BY 'hunter2'"),
            &format!("CREATE USER {user}@'localhost' IDENTIFIED BY 'hunter2'"),
        ])
        .await;
    let url = as_user(&world.ground.ledger, &format!("{user}:hunter2"));
    let setting = [format!("ledger.url={url}")];
    let words = ["ledger.url", "grant the user"];
    refused(&world, "receiver", &setting, &words).await;
    for place in ["%", "localhost"] {
        let grant = format!("GRANT SELECT ON {user}.* TO {user}@'{place}'");
        world.ground.run(&[&grant]).await;
    }
    refused(&world, "sender", &setting, &words).await;
    world
        .ground
        .run(&["UPDATE schema_info SET min_reader = 99"])
        .await;
    for role in ROLES {
        refused(
            &world,
            role,
            &[],
            &["reads version 99", "start the newer program"],
        )
        .await;
    }
    for command in [&["partner", "list"][..], &["migrate"], &["reconcile"]] {
        let output = world.pabal(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("start the newer program"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_was_declared_otherwise_is_told_with_the_remedy() {
    let world = World::new(Tempo::Calm).await;
    let server = Connection::connect(&world.ground.broker, ConnectionProperties::default());
    let channel = server.await.unwrap().create_channel().await.unwrap();
    let queue = format!("{}send.rcs.queue", world.ground.queues());
    // Not a quorum queue.
    channel
        .queue_declare(
            queue.clone().into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    for role in ROLES {
        let words = ["broker.prefix", &queue, "delete it", "another prefix"];
        refused(&world, role, &[], &words).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_the_login_is_told_with_the_remedy() {
    let world = World::new(Tempo::Calm).await;
    let redis = Redis::start("at-least-this").await;
    let place = redis.address();
    let given = "password in the file that quota.password_file";
    let mistakes: Vec<(Vec<String>, Vec<&str>)> = vec![
        (
            vec![format!("quota.url=redis://{place}")],
            vec!["asks for a password", "quota.password_file"],
        ),
        (
            vec![format!("quota.url=redis://:hunter2@{place}")],
            vec!["quota.url", given],
        ),
        (
            vec![format!("quota.url=redis://somebody:hunter2@{place}/0")],
            vec!["quota.url", given],
        ),
        (
            vec![format!("quota.url=redis://:at-least-this@{place}/77")],
            vec!["quota.url", "no database of this number"],
        ),
    ];
    for role in ROLES {
        for (settings, words) in &mistakes {
            refused(&world, role, settings, words).await;
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "at-least-this\n").unwrap();
    let right = [
        format!("quota.url=redis://{place}"),
        format!("quota.password_file={}", file.path().display()),
    ];
    let mut process = world.start_with("receiver", 0, &right);
    process.ready().await;
    process.stop().await;
}

/// A Redis of the test's own that asks for a password.
struct Redis {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    async fn start(password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &port.to_string(), "--requirepass", password])
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("install redis-server: this test starts one of its own");
        let redis = Self {
            child,
            port,
            _folder: folder,
        };
        until("redis-server listens", async || {
            tokio::net::TcpStream::connect(redis.address()).await.ok()
        })
        .await;
        redis
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
