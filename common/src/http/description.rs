//! The description of the partner API, made from the handlers' own types.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

/// A description without routes: what the API is called, and how its callers show who they are.
pub fn empty() -> OpenApiRouter {
    let info = InfoBuilder::new()
        .title("Pabal")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Send messages (SMS, LMS, MMS, Kakao Alimtalk, Kakao Brand Message, Naver TalkTalk, \
             RCS) through one API, follow each to its end, and get the results by signed webhook, \
             by query and as daily numbers.",
        ))
        .license(Some(
            LicenseBuilder::new().name("MIT OR Apache-2.0").build(),
        ))
        .build();
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme("token", SecurityScheme::Http(token))
        .build();
    let description = OpenApiBuilder::new().info(info);
    OpenApiRouter::with_openapi(description.components(Some(components)).build())
}

/// The routes of one service, with their own description at `/openapi.json`.
pub fn described(routes: OpenApiRouter) -> Router {
    let (router, description) = empty().merge(routes).split_for_parts();
    // Its types are texts, numbers and maps of them: none fails to be written.
    let text = description.to_json().unwrap_or_default();
    let answer = async move || ([(CONTENT_TYPE, "application/json")], text);
    router.route("/openapi.json", get(answer))
}
