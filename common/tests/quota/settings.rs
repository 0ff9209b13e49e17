//! A wrong setting is named, with its remedy.

use std::io::{Read, Write};

use pabal_common::quota::QuotaError;
use pabal_common::quota::redis::{RedisConfig, RedisQuota};

use crate::server::Server;
use crate::stack::config;

async fn wrong(config: RedisConfig) -> String {
    match RedisQuota::connect(config).await {
        Err(QuotaError::Misconfigured(sentence)) => sentence,
        other => panic!("not the setting's fault: {other:?}"),
    }
}

fn with_password(mut config: RedisConfig, password: &str) -> RedisConfig {
    config.password = Some(password.into());
    config
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_once_and_not_repeated() {
    for url in [
        "",
        "localhost",
        "http://hunter2@localhost",
        "redis://:hunter2@",
        "redis://:hunter2@localhost/x",
        "rediss://:hunter2@localhost/#insecure",
    ] {
        let sentence = wrong(config(url, "t:")).await;
        assert!(sentence.contains("quota.url"), "{url}: {sentence}");
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_named() {
    let server = Server::start_with(&["--requirepass", "right"]);
    let sentence = wrong(with_password(server.config(), "wrong")).await;
    assert!(sentence.contains("quota.password_file"), "{sentence}");
    let right = with_password(server.config(), "right");
    assert!(RedisQuota::connect(right).await.is_ok());
}

#[tokio::test]
async fn a_missing_password_is_named() {
    let server = Server::start_with(&["--requirepass", "right"]);
    let sentence = wrong(server.config()).await;
    assert!(sentence.contains("quota.password_file"), "{sentence}");
}

#[tokio::test]
async fn an_unknown_user_is_named() {
    let server = Server::start();
    let url = format!("{}?user=nobody", server.url());
    let sentence = wrong(with_password(config(&url, "t:"), "x")).await;
    assert!(sentence.contains("quota.url"), "{sentence}");
}

#[tokio::test]
async fn a_missing_right_is_named_and_the_rights_that_are_named_suffice() {
    let server = Server::start();
    let url = format!("{}?user=pabal", server.url());
    let config = || with_password(config(&url, "t:"), "x");
    let set = |rights: &[&str]| {
        let user = ["ACL", "SETUSER", "pabal", "reset", "on", ">x"];
        server.tell::<()>(&[&user, rights].concat());
    };
    for rights in [
        &["~t:*", "+ping"][..],
        &["~t:*", "+ping", "+evalsha", "+script|load", "+time", "+get"],
        &["~t:*", "+ping", "+evalsha", "+script|load", "+time", "+set"],
        &["~other:*", "+@all"],
    ] {
        set(rights);
        let sentence = wrong(config()).await;
        assert!(sentence.contains("quota.url"), "{sentence}");
        assert!(sentence.contains("~t:*"), "{sentence}");
    }
    let sentence = {
        set(&["~t:*", "+ping"]);
        wrong(config()).await
    };
    let named = sentence.split('`').nth(1).expect("the rights are quoted");
    set(&named.split(' ').collect::<Vec<_>>());
    let opened = RedisQuota::connect(config()).await;
    assert!(opened.is_ok(), "{opened:?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let server = Server::start();
    let sentence = wrong(config(&format!("{}?db=99", server.url()), "t:")).await;
    assert!(sentence.contains("quota.url"), "{sentence}");
}

#[tokio::test]
async fn something_else_at_the_address_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            let _ = connection.read(&mut [0; 512]);
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let sentence = wrong(config(&url, "t:")).await;
    assert!(sentence.contains("quota.url"), "{sentence}");
}

#[test]
fn a_configuration_that_is_printed_keeps_the_password_to_itself() {
    let config = with_password(config("redis://:hunter2@localhost", "t:"), "hunter3");
    assert!(!format!("{config:?}").contains("hunter"));
}
