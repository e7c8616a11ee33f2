use super::chain::next;
use super::{Step, Steps};
use crate::driver::versioned;

impl Steps {
    /// Finds natively what the host would refuse at upload.
    ///
    /// # Errors
    ///
    /// A text that names the step: schema version 0, two steps from the same type and version, one
    /// that does not lead its own type to a later version, or a circle.
    pub fn check(&self) -> Result<(), String> {
        let steps = self.as_slice();
        for (index, step) in steps.iter().enumerate() {
            check_versions(step)?;
            let same = |other: &Step| other.start() == step.start();
            if steps[..index].iter().any(same) {
                return Err(format!("two steps from {step}"));
            }
        }
        let circle = steps.iter().find(|step| self.leads_back(step));
        circle.map_or(Ok(()), |step| {
            Err(format!("the steps from {step} lead back to it"))
        })
    }

    fn leads_back(&self, start: &Step) -> bool {
        let (mut seen, mut open) = (Vec::new(), vec![start]);
        while let Some(step) = open.pop() {
            for (event_type, version) in &step.to {
                let Some(next) = next(self, event_type, *version) else {
                    continue;
                };
                if next.start() == start.start() {
                    return true;
                }
                if !seen.contains(&next.start()) {
                    seen.push(next.start());
                    open.push(next);
                }
            }
        }
        false
    }
}

impl Step {
    fn start(&self) -> (&'static str, u32) {
        (self.event_type, self.from_version)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&versioned("event", self.event_type, self.from_version))
    }
}

fn check_versions(step: &Step) -> Result<(), String> {
    let begins = "schema versions begin at 1";
    if step.from_version == 0 {
        return Err(format!("step from {step}: {begins}"));
    }
    for (event_type, version) in &step.to {
        let target = versioned("event", event_type, *version);
        if *version == 0 {
            return Err(format!("step from {step} to {target}: {begins}"));
        }
        if *event_type == step.event_type && *version <= step.from_version {
            return Err(format!(
                "step from {step} to {target}: it has to lead to a later version"
            ));
        }
    }
    Ok(())
}
