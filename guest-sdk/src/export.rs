use crate::Aggregate;
use crate::message::{Attributes, Describe};

/// A type in either style, ready to run: [`decider!`](crate::decider) and
/// [`aggregate!`](crate::aggregate) implement it.
pub trait Guest: 'static {
    /// The aggregate: the type itself, or its adapter.
    type Aggregate: Aggregate;

    /// The semantic version of the component, which is the version of the package that exports it.
    const VERSION: &'static str;

    /// Attributes of the commands.
    const COMMANDS: &'static [Attributes] = &[];

    /// Attributes of the events.
    const EVENTS: &'static [Attributes] = &[];

    /// The JSON Schemas of the commands; none unless the commands derive `JsonSchema` and the
    /// feature `schema` is on.
    #[doc(hidden)]
    const COMMAND_SCHEMAS: Option<Describe> = None;

    /// The JSON Schemas of the events.
    #[doc(hidden)]
    const EVENT_SCHEMAS: Option<Describe> = None;
}

/// Exports a [`Decider`](crate::Decider) as the component that this package builds,
/// with the [`Upcaster`](crate::Upcaster) of its events if there is one:
/// `decider!(Account, upcasts = AccountUpcasts)`, and with [`Projection`](crate::Projection)s:
/// `decider!(Account, projections = (Balances, Movements))`.
///
/// At most once a package. In a package that forbids `unsafe_code`, deny it instead: the exported
/// functions need it, but the code of their author doesn't.
#[macro_export]
macro_rules! decider {
    (
        $decider:ty
        $(, upcasts = $upcaster:ty)?
        $(, projections = ($($projection:ty),+ $(,)?))?
        $(,)?
    ) => {
        $crate::__export_guest!(
            $decider, $crate::Decider, $crate::Functional<$decider>
            $(, $($projection),+)?
        );
        $($crate::__export_upcasts_with!($decider, $upcaster);)?
        $($crate::__export_projections!($($projection),+);)?
    };
}

/// Exports an [`Aggregate`](crate::Aggregate) as the component that this package
/// builds, with the [`Upcaster`](crate::Upcaster) of its events if there is one:
/// `aggregate!(Account, upcasts = AccountUpcasts)`, and with [`Projection`](crate::Projection)s:
/// `aggregate!(Account, projections = (Balances, Movements))`.
///
/// At most once a package. In a package that forbids `unsafe_code`, deny it instead: the exported
/// functions need it, but the code of their author doesn't.
#[macro_export]
macro_rules! aggregate {
    (
        $aggregate:ty
        $(, upcasts = $upcaster:ty)?
        $(, projections = ($($projection:ty),+ $(,)?))?
        $(,)?
    ) => {
        $crate::__export_guest!(
            $aggregate, $crate::Aggregate, $aggregate
            $(, $($projection),+)?
        );
        $($crate::__export_upcasts_with!($aggregate, $upcaster);)?
        $($crate::__export_projections!($($projection),+);)?
    };
}

/// Exports [`Upcaster`](crate::Upcaster)s as the component that this package builds,
/// under a name of their own: `upcaster!("loan-upcasts", LoanUpcasts)`.
///
/// One component may lift several categories: `upcaster!("bank-upcasts", LoanUpcasts,
/// AccountUpcasts)`. The name has 1 to 64 of `a-z 0-9 _ - .`, beginning with a
/// letter. At most once a package.
#[macro_export]
macro_rules! upcaster {
    ($name:literal, $($upcaster:ty),+ $(,)?) => {
        $crate::__export_upcasts!($($upcaster),+);
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            struct __QuipuUpcasts;
            impl $crate::bindings::manifest::Described for __QuipuUpcasts {
                fn manifest() -> $crate::Manifest {
                    let version = ::core::env!("CARGO_PKG_VERSION");
                    $crate::Manifest::without_decider($name, version)
                }
            }
            type Component = $crate::bindings::manifest::Component<__QuipuUpcasts>;
            $crate::bindings::manifest::export!(
                Component with_types_in $crate::bindings::manifest
            );
        };
    };
}

/// Exports [`Projection`](crate::Projection)s as the component that this package builds,
/// under a name of their own: `projections!("account-views", Balances, Movements)`.
///
/// The name is the component's name, of 1 to 64 of `a-z 0-9 _ - .`, beginning with a letter; the
/// projections keep theirs, whichever component includes them. At most once a package.
#[macro_export]
macro_rules! projections {
    ($name:literal, $($projection:ty),+ $(,)?) => {
        $crate::__export_projections!($($projection),+);
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            struct __QuipuDescribed;
            impl $crate::bindings::manifest::Described for __QuipuDescribed {
                fn manifest() -> $crate::Manifest {
                    let version = ::core::env!("CARGO_PKG_VERSION");
                    $crate::Manifest::without_decider($name, version)
                        .with_documents($crate::__document_schemas!($($projection),+))
                }
            }
            type Component = $crate::bindings::manifest::Component<__QuipuDescribed>;
            $crate::bindings::manifest::export!(
                Component with_types_in $crate::bindings::manifest
            );
        };
    };
}

/// Natively nothing is exported: two guests may be linked into one test.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_guest {
    ($guest:ty, $style:path, $aggregate:ty $(, $projection:ty)*) => {
        impl $crate::Guest for $guest {
            type Aggregate = $aggregate;
            const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            const COMMANDS: &'static [$crate::Attributes] = {
                #[allow(unused_imports)]
                use $crate::__private::Plain as _;
                $crate::__private::Probe::<<$guest as $style>::Command>::ATTRIBUTES
            };
            const EVENTS: &'static [$crate::Attributes] = {
                #[allow(unused_imports)]
                use $crate::__private::Plain as _;
                $crate::__private::Probe::<<$guest as $style>::Event>::ATTRIBUTES
            };
            const COMMAND_SCHEMAS: ::core::option::Option<$crate::__private::Describe> = {
                #[allow(unused_imports)]
                use $crate::__private::Plain as _;
                $crate::__private::Probe::<<$guest as $style>::Command>::COMMAND_SCHEMAS
            };
            const EVENT_SCHEMAS: ::core::option::Option<$crate::__private::Describe> = {
                #[allow(unused_imports)]
                use $crate::__private::Plain as _;
                $crate::__private::Probe::<<$guest as $style>::Event>::EVENT_SCHEMAS
            };
        }
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::bindings::{decider, manifest};
            struct __QuipuDescribed;
            impl manifest::Described for __QuipuDescribed {
                fn manifest() -> $crate::Manifest {
                    $crate::Manifest::of::<$guest>()
                        .with_documents($crate::__document_schemas!($($projection),*))
                }
            }
            type Manifest = manifest::Component<__QuipuDescribed>;
            type Decider = decider::Component<$guest>;
    $crate::bindings::manifest::export!(Manifest with_types_in $crate::bindings::manifest);
    $crate::bindings::decider::export!(Decider with_types_in $crate::bindings::decider);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_upcasts_with {
    ($guest:ty, $upcaster:ty) => {
        const _: () = ::core::assert!(
            $crate::__private::equal(
                <<$guest as $crate::Guest>::Aggregate as $crate::Aggregate>::CATEGORY,
                <$upcaster as $crate::Upcaster>::CATEGORY,
            ),
            "upcasters next to a decider lift events of its category; others go into a component \
             of their own: `upcaster!`"
        );
        $crate::__export_upcasts!($upcaster);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_upcasts {
    ($($upcaster:ty),+) => {
        const _: &[fn() -> $crate::Steps] = &[$(<$upcaster as $crate::Upcaster>::steps),+];
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            struct __QuipuUpcasts;
            impl $crate::bindings::upcaster::Lifting for __QuipuUpcasts {
                fn catalogue() -> &'static $crate::__private::Catalogue {
                    static MADE: ::std::sync::OnceLock<$crate::__private::Catalogue> =
                        ::std::sync::OnceLock::new();
                    MADE.get_or_init(|| {
                        $crate::__private::Catalogue::default()$(.with::<$upcaster>())+
                    })
                }
            }
            type Component = $crate::bindings::upcaster::Component<__QuipuUpcasts>;
            $crate::bindings::upcaster::export!(
                Component with_types_in $crate::bindings::upcaster
            );
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_projections {
    ($($projection:ty),+) => {
        const _: &[&str] = &[$(<$projection as $crate::Projection>::NAME),+];
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            struct __QuipuProjected;
            impl $crate::bindings::projection::Projecting for __QuipuProjected {
                fn projections() -> &'static $crate::__private::Projections {
                    static MADE: ::std::sync::OnceLock<$crate::__private::Projections> =
                        ::std::sync::OnceLock::new();
                    MADE.get_or_init(|| {
                        $crate::__private::Projections::default()$(.with::<$projection>())+
                    })
                }
            }
            type Component = $crate::bindings::projection::Component<__QuipuProjected>;
            $crate::bindings::projection::export!(
                Component with_types_in $crate::bindings::projection
            );
        };
    };
}

/// The names of projections, each with what describes its documents.
#[doc(hidden)]
#[macro_export]
macro_rules! __document_schemas {
    ($($projection:ty),*) => {{
        #[allow(unused_imports)]
        use $crate::__private::Plain as _;
        const SCHEMAS: &[(&str, ::core::option::Option<$crate::__private::DescribeDocument>)] = &[$((
            <$projection as $crate::Projection>::NAME,
            $crate::__private::Probe::<<$projection as $crate::Projection>::Document>::DOCUMENT_SCHEMA,
        )),*];
        SCHEMAS
    }};
}
