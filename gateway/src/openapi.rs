//! The description of the HTTP API, made from the handlers' own types.

use axum::Router;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// A description without routes.
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
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
}

/// The routes, with `/openapi.json` and the pages at `/docs`.
pub fn with_documentation(described: OpenApiRouter) -> Router {
    let (router, description) = described.split_for_parts();
    router.merge(SwaggerUi::new("/docs").url("/openapi.json", description))
}

/// The whole description, as `pabal openapi` prints it.
pub fn describe(described: OpenApiRouter) -> OpenApi {
    described.split_for_parts().1
}
