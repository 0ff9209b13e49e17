//! `pabal openapi`

use pabal_gateway::gateway;

use super::Failure;
use crate::cli::Configuration;

pub(crate) async fn run(with: &Configuration) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let data = (
        "data.folder".to_owned(),
        folder.path().display().to_string(),
    );
    let values = with
        .with([data, ("simulator.enabled".into(), "false".into())])
        .load()?;
    let description = gateway::describe(&values)
        .await
        .map_err(|error| error.failure())?;
    println!("{}", description.to_pretty_json()?);
    Ok(())
}
