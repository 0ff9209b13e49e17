use secrecy::ExposeSecret as _;

use super::*;

const SETTINGS: &[Setting] = &[
    Setting::new(
        "sender.call_timeout",
        Kind::duration(Duration::from_millis(100), Duration::from_secs(60)),
        "10s",
        "How long a vendor call may take.",
    ),
    Setting::new("sender.calls", Kind::count(1, 1000), "32", "Calls at once."),
    Setting::new(
        "http.body",
        Kind::Bytes {
            min: 1024,
            max: 1 << 24,
        },
        "256KiB",
        "The largest body.",
    ),
    Setting::new("http.docs", Kind::Flag, "true", "Whether /docs is served."),
    Setting::new(
        "http.listen",
        Kind::Address,
        "127.0.0.1:8080",
        "Where to listen.",
    ),
    Setting::new("name", Kind::Text, "pabal", "The name in traces."),
    Setting::new("data", Kind::Path, "./data", "Where data lies."),
    Setting::new(
        "log.format",
        Kind::Choice(&["auto", "json"]),
        "auto",
        "a | b",
    ),
];

const MORE: &[Setting] = &[
    Setting::optional("secret", Kind::Secret, "The secret."),
    Setting::optional("broker.url", Kind::Url, "The broker."),
];

fn load(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Values, ConfigError> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    Values::load(
        &[SETTINGS, MORE],
        &["route"],
        Some((PathBuf::from("pabal.toml"), file.to_owned())),
        owned(env).into_iter(),
        &owned(flags),
    )
}

fn refused(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    load(file, env, flags).unwrap_err().to_string()
}

#[test]
fn without_any_layer_the_defaults_hold() {
    let values = Values::load(&[SETTINGS, MORE], &[], None, std::iter::empty(), &[]).unwrap();
    assert_eq!(
        values.duration("sender.call_timeout"),
        Duration::from_secs(10)
    );
    assert_eq!(values.count("sender.calls"), 32);
    assert_eq!(values.bytes("http.body"), 256 * 1024);
    assert!(values.flag("http.docs"));
    assert_eq!(values.address("http.listen").port(), 8080);
    assert_eq!(values.text("name"), "pabal");
    assert_eq!(values.path("data"), Path::new("./data"));
    assert_eq!(values.choice("log.format"), "auto");
    assert!(values.optional_secret("secret").is_none());
    assert!(values.optional_url("broker.url").is_none());
}

#[test]
fn each_layer_overrides_the_one_below() {
    let file = "name = 'file'\n[sender]\ncalls = 1_0\ncall_timeout = '1s'\n[http]\ndocs = false";
    let values = load(
        file,
        &[
            ("PABAL_SENDER_CALL_TIMEOUT", "2s"),
            ("PABAL_NAME", "environment"),
            ("HOME", "/"),
        ],
        &[("name", "flag")],
    )
    .unwrap();
    assert_eq!(values.count("sender.calls"), 10);
    assert!(!values.flag("http.docs"));
    assert_eq!(
        values.duration("sender.call_timeout"),
        Duration::from_secs(2)
    );
    assert_eq!(values.text("name"), "flag");

    let source = |key: &str| {
        let effective = values.effective();
        let found = effective.iter().find(|entry| entry.key == key);
        found.unwrap().source.to_string()
    };
    assert_eq!(source("http.body"), "default");
    assert_eq!(source("sender.calls"), "pabal.toml");
    assert_eq!(
        source("sender.call_timeout"),
        "environment PABAL_SENDER_CALL_TIMEOUT"
    );
    assert_eq!(source("name"), "--set");
}

#[test]
fn good_values_of_every_unit_are_read() {
    let all = Kind::duration(Duration::ZERO, Duration::MAX);
    for (text, millis) in [
        ("500ms", 500),
        ("0s", 0),
        ("10s", 10_000),
        ("5m", 300_000),
        ("24h", 86_400_000),
        ("90d", 7_776_000_000),
        ("1_000 ms", 1000),
    ] {
        let parsed = Setting::new("x", all, "1s", "").parse(text).unwrap();
        assert_eq!(
            parsed.duration(),
            Some(Duration::from_millis(millis)),
            "{text}"
        );
    }
    let all = Kind::Bytes {
        min: 0,
        max: u64::MAX,
    };
    for (text, bytes) in [("7", 7), ("512B", 512), ("2KiB", 2048), ("1GiB", 1 << 30)] {
        let parsed = Setting::new("x", all, "1B", "").parse(text).unwrap();
        assert_eq!(parsed.bytes(), Some(bytes), "{text}");
    }
}

#[test]
fn a_value_its_kind_does_not_allow_is_refused_with_key_value_source_and_what_is_allowed() {
    for (key, values, allowed) in [
        (
            "sender.call_timeout",
            &[
                "10",
                "ten",
                "99ms",
                "61s",
                "-1s",
                "1.5s",
                "99999999999999d",
                "",
                "1s ",
            ][..],
            "from 100ms to 1m",
        ),
        (
            "sender.calls",
            &["0", "1001", "x", "+5", "_1", ""],
            "from 1 to 1000",
        ),
        (
            "http.body",
            &["1KB", "1023", "17MiB", "KiB", ""],
            "from 1KiB to 16MiB",
        ),
        ("http.docs", &["yes", "1", "True", ""], "true or false"),
        (
            "http.listen",
            &["8080", "localhost:8080", ":8080", ""],
            "127.0.0.1:8080",
        ),
        ("name", &[""], "not empty"),
        ("data", &[""], "a path"),
        ("log.format", &["JSON", ""], "one of auto, json"),
        ("broker.url", &["host", "http://", "/x"], "or nothing"),
    ] {
        for value in values {
            let error = refused("", &[], &[(key, value)]);
            let told = format!("{key} = {value:?} (from --set) is not allowed: expected ");
            assert!(error.starts_with(&told), "{error}");
            assert!(error.contains(allowed), "{error}");
        }
    }
}

#[test]
fn an_unknown_key_is_refused_in_every_layer_with_the_nearest_known_one() {
    assert_eq!(
        refused("[sender]\ncall_timeut = '1s'", &[], &[]),
        "sender.call_timeut (from pabal.toml) is not a setting; did you mean sender.call_timeout?"
    );
    assert_eq!(
        refused("", &[("PABAL_HTTP_LISTN", "x")], &[]),
        "PABAL_HTTP_LISTN (from environment PABAL_HTTP_LISTN) is not a setting; \
         did you mean PABAL_HTTP_LISTEN?"
    );
    assert_eq!(
        refused("", &[], &[("nme", "x")]),
        "nme (from --set) is not a setting; did you mean name?"
    );
    assert_eq!(
        refused("", &[], &[("quite.something.else", "x")]),
        "quite.something.else (from --set) is not a setting"
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let error = load("oops = 1", &[("PABAL_NAME", "")], &[("http.docs", "x")]).unwrap_err();
    assert_eq!(error.problems.len(), 3);
}

#[test]
fn variables_that_an_orchestrator_adds_for_its_services_are_let_be() {
    let values = load(
        "",
        &[
            ("PABAL_SERVICE_HOST", "10.0.0.1"),
            ("PABAL_SERVICE_PORT_HTTP", "80"),
            ("PABAL_PORT", "tcp://10.0.0.1:80"),
            ("PABAL_RECEIVER_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("PABAL_RECEIVER_PORT_80_TCP_ADDR", "10.0.0.1"),
        ],
        &[],
    );
    assert!(values.is_ok());
    assert!(load("", &[("PABAL_PORT", "80")], &[]).is_err());
}

#[test]
fn secrets_are_readable_and_never_shown() {
    let values = load(
        "secret = 'hunter2'\n[broker]\nurl = 'amqp://me:hunter2@host:5672/x'",
        &[],
        &[],
    )
    .unwrap();
    assert_eq!(values.secret("secret").expose_secret(), "hunter2");
    assert_eq!(values.url("broker.url"), "amqp://me:hunter2@host:5672/x");
    let shown = format!("{values:?}{:?}", values.effective());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("amqp://me:****@host:5672/x"), "{shown}");
}

#[test]
fn errors_never_show_secrets_either() {
    for file in [
        "[broker]\nurl = 'amqp//me:hunter2@ho st'",
        "[broker]\nurl = 'amqp://me:hunter2@'",
        "secret = 'hunter2",
        "secret = 'hunter2' oops",
    ] {
        let error = refused(file, &[], &[]);
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let error = refused("name = 'a'\n\nsender = = 1\n", &[], &[]);
    assert!(error.starts_with("pabal.toml, line 3: "), "{error}");
}

#[test]
fn tables_are_given_in_order_and_only_those_that_were_declared() {
    let values = load("[[route]]\nname = 'a'\n[[route]]\nname = 'b'", &[], &[]).unwrap();
    let names: Vec<_> = values
        .tables("route")
        .iter()
        .map(|table| table["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert!(values.tables("account").is_empty());
    assert!(refused("[[rout]]\nname = 'a'", &[], &[]).starts_with("rout (from pabal.toml)"));
    assert!(refused("name = ['a']", &[], &[]).starts_with("name (from pabal.toml)"));
}

#[test]
fn the_documented_table_has_a_line_for_every_setting() {
    let table = markdown_table(&[SETTINGS, MORE]);
    assert_eq!(table.lines().count(), 2 + SETTINGS.len() + MORE.len());
    assert!(table.contains(
        "| `sender.call_timeout` | `PABAL_SENDER_CALL_TIMEOUT` | `10s` | a duration such as"
    ));
    assert!(table.contains("a \\| b"));
}
