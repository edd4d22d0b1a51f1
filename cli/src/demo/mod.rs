//! `leadership demo`: the tour.
use crate::args::Global;
use crate::failure::Failure;
pub(crate) async fn run(_global: &Global) -> Result<(), Failure> {
    Ok(())
}
