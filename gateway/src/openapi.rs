//! The description of the HTTP API of all services together.

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// The routes, with `/openapi.json` and the pages at `/docs`.
pub fn with_documentation(described: OpenApiRouter) -> Router {
    let (router, description) = described.split_for_parts();
    router.merge(SwaggerUi::new("/docs").url("/openapi.json", description))
}

/// The whole description, as `pabal openapi` prints it.
pub fn describe(described: OpenApiRouter) -> OpenApi {
    described.split_for_parts().1
}
