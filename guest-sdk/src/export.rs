use crate::Aggregate;

/// What [`decider!`](crate::decider) and [`aggregate!`](crate::aggregate) implement:
/// a type in either style, ready to be run.
pub trait Guest: 'static {
    /// The type itself, or its adapter.
    type Aggregate: Aggregate;

    /// Semantic version of the component: that of the package that exports it.
    const VERSION: &'static str;
}

/// Exports a [`Decider`](crate::Decider) as the component that this package builds.
///
/// At most once a package. In a package that forbids `unsafe_code`, deny it instead:
/// the exported functions need it, though their author doesn't.
#[macro_export]
macro_rules! decider {
    ($decider:ty) => {
        impl $crate::Guest for $decider {
            type Aggregate = $crate::Functional<$decider>;
            const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
        }
        $crate::__export_component!($decider);
    };
}

/// Exports an [`Aggregate`](crate::Aggregate) as the component that this package
/// builds.
///
/// At most once a package. In a package that forbids `unsafe_code`, deny it instead:
/// the exported functions need it, though their author doesn't.
#[macro_export]
macro_rules! aggregate {
    ($aggregate:ty) => {
        impl $crate::Guest for $aggregate {
            type Aggregate = $aggregate;
            const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
        }
        $crate::__export_component!($aggregate);
    };
}

/// Natively nothing is exported: two guests may be linked into one test.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_component {
    ($guest:ty) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            type Component = $crate::bindings::Component<$guest>;
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
