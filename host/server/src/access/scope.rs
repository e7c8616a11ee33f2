//! What the operations of an action can name.

use super::{ABOUT_MODULES, Access, CHECKED_BY_HANDLER, Need};
use quipu::access::Action;
use quipu_policy::Target;

/// What the operations of an action can name.
#[derive(Debug, Default)]
struct Scope {
    streams: bool,
    categories: bool,
    projections: bool,
    modules: bool,
}

impl Access {
    /// What a request is checked for that does something with an object: the object itself, or what
    /// it is in, if no operation of the action can name it.
    pub fn asked_for(&self, action: Action, on: Target) -> Target {
        let scope = self.scope(action);
        match on {
            Target::Stream(stream) if !scope.streams => {
                let category = Target::Category(stream.category().to_owned());
                self.asked_for(action, category)
            }
            // The streams of a category are what can be named of it.
            Target::Category(_) if !scope.categories && !scope.streams => Target::Store,
            Target::Projection(_) if !scope.projections => Target::Store,
            Target::Module(_) if !scope.modules => Target::Store,
            on => on,
        }
    }

    fn scope(&self, action: Action) -> Scope {
        let mut scope = Scope::default();
        for (path, declared) in self.operations.values().flatten() {
            if declared.need != Need::Action(action) {
                continue;
            }
            let id = &&*declared.id;
            scope.streams |= path.contains("{stream}")
                || declared.takes_stream
                || CHECKED_BY_HANDLER.contains(id);
            scope.categories |= path.contains("{category}") || declared.takes_category;
            scope.projections |= path.contains("{projection}") || is_of_projection(path);
            scope.modules |= ABOUT_MODULES.contains(id);
        }
        scope
    }
}

fn is_of_projection(path: &str) -> bool {
    path.starts_with("/v1/projections/") && path.contains("{name}")
}
