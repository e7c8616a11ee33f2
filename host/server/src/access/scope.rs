//! What the operations of an action can name.

use super::{ABOUT_MODULES, Access, CHECKED_BY_HANDLER, Declared, Need};
use quipu::access::Action;
use quipu_policy::Target;

impl Access {
    /// What a request is checked for that does something with an object: the object itself, or what
    /// it is in, if no operation of the action can name it.
    pub fn asked_for(&self, action: Action, on: Target) -> Target {
        let can_name = |is_named: fn(&str, &Declared) -> bool| {
            let mut all = self.operations.values().flatten();
            all.any(|(path, it)| it.need == Need::Action(action) && is_named(path, it))
        };
        match on {
            Target::Stream(stream) if !can_name(names_stream) => {
                let category = Target::Category(stream.category().to_owned());
                self.asked_for(action, category)
            }
            // The streams of a category are what can be named of it.
            Target::Category(_) if !can_name(names_category) && !can_name(names_stream) => {
                Target::Store
            }
            Target::Projection(_) if !can_name(names_projection) => Target::Store,
            Target::Module(_) if !can_name(names_module) => Target::Store,
            on => on,
        }
    }
}

fn names_stream(path: &str, it: &Declared) -> bool {
    let is_checked = CHECKED_BY_HANDLER.contains(&&*it.id);
    path.contains("{stream}") || it.takes_stream || is_checked
}

fn names_category(path: &str, it: &Declared) -> bool {
    path.contains("{category}") || it.takes_category
}

fn names_projection(path: &str, _: &Declared) -> bool {
    let is_of_projection = path.starts_with("/v1/projections/") && path.contains("{name}");
    is_of_projection || path.contains("{projection}")
}

fn names_module(_: &str, it: &Declared) -> bool {
    ABOUT_MODULES.contains(&&*it.id)
}
