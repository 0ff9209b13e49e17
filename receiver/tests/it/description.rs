//! The description of the API that is made from the handlers.

use std::collections::HashSet;

use pabal_common::http::description;
use serde_json::Value;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn the_description_names_every_address_once_and_what_a_message_needs() {
    let house = House::new().await;
    let described = description::empty().merge(house.receiver.router());
    let (_, api) = described.split_for_parts();
    let api: Value = serde_json::to_value(&api).unwrap();
    let mut ids = HashSet::new();
    for path in [
        "/v1/auth/token",
        "/v1/auth/refresh",
        "/v1/auth/revoke",
        "/oauth2/token",
        "/v1/messages",
        "/v1/messages/batch",
        "/v1/files",
    ] {
        let post = &api["paths"][path]["post"];
        for status in ["400", "408", "413", "415", "500", "503"] {
            let said = &post["responses"][status]["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(said, "#/components/schemas/ErrorBody", "{path} {status}");
        }
        assert!(
            ids.insert(post["operationId"].as_str().unwrap().to_owned()),
            "{path}"
        );
    }
    let templates = &api["paths"]["/v1/templates"]["get"]["operationId"];
    assert!(ids.insert(templates.as_str().unwrap().to_owned()));
    assert_eq!(api["paths"].as_object().unwrap().len(), ids.len());
    let message = &api["components"]["schemas"]["MessageRequest"];
    let required: HashSet<_> = message["required"].as_array().unwrap().iter().collect();
    // An Alimtalk may leave its text to its template.
    let needed: Vec<Value> = ["clientMsgId", "type", "to"].map(Into::into).into();
    assert_eq!(required, needed.iter().collect());
    assert_eq!(
        api["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
    let description = api["paths"]["/v1/messages"]["post"]["description"]
        .as_str()
        .unwrap();
    assert!(description.contains("| KAKAO_ALIMTALK |"));
    for schema in ["ErrorBody", "SendAnswer", "BatchAnswer", "TokenAnswer"] {
        assert!(api["components"]["schemas"][schema].is_object(), "{schema}");
    }
}
