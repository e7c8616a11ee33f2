use super::{Step, Steps, Upcasted};
use crate::driver::FoldError;

/// Returns the event at the end of the chain. The steps must pass [`Steps::check`]: a circle has no
/// end.
pub(crate) fn lift(steps: &Steps, event: Upcasted) -> Result<Vec<Upcasted>, FoldError> {
    let Some(step) = next(steps, &event.event_type, event.schema_version) else {
        return Ok(vec![event]);
    };
    let mut lifted = Vec::new();
    for part in step.upcast(&event.event_type, event.schema_version, &event.body)? {
        lifted.extend(lift(steps, part)?);
    }
    Ok(lifted)
}

/// Returns the step of that type from that version, or from the next later one.
pub(super) fn next<'a>(steps: &'a Steps, event_type: &str, version: u32) -> Option<&'a Step> {
    let later = |step: &&Step| step.event_type == event_type && step.from_version >= version;
    let steps = steps.as_slice().iter().filter(later);
    steps.min_by_key(|step| step.from_version)
}
