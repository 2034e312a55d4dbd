//! Writes the function that takes the place of the one under the attribute.
//!
//! The user's function is not taken apart: it moves, as it was written, into the one that builds
//! the runtime. Thus the compiler checks an ordinary `async fn`, and its errors, hints and
//! completions point into the user's code.

use std::fmt;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Error;

use crate::function::Function;
use crate::options::Options;

/// Which attribute is being expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Main,
    Test,
}

impl Entry {
    /// What the outer function needs that the user did not write.
    fn attribute(self) -> Option<TokenStream> {
        match self {
            Self::Main => None,
            Self::Test => Some(quote!(#[::core::prelude::v1::test])),
        }
    }
}

/// The attribute as users write it, for messages.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "`#[runtime::main]`",
            Self::Test => "`#[runtime::test]`",
        })
    }
}

pub(crate) fn expand(entry: Entry, options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Vec::new();
    let options = Options::read(options, &mut errors);
    let function = match Function::read(entry, item.clone()) {
        Ok(function) => function,
        Err(error) => {
            errors.push(error);
            let errors = errors.iter().map(Error::to_compile_error);
            return quote!(#(#errors)* #item);
        }
    };
    function.check(entry, &mut errors);
    if errors.is_empty() {
        blocking(entry, &options, &function)
    } else {
        let errors = errors.iter().map(Error::to_compile_error);
        let kept = kept(entry, &function, item);
        quote!(#(#errors)* #kept)
    }
}

/// The function that builds a runtime and blocks on the user's.
fn blocking(entry: Entry, options: &Options, function: &Function) -> TokenStream {
    let Function {
        attributes,
        visibility,
        signature,
        body,
    } = function;
    let attribute = entry.attribute();
    let name = &signature.ident;
    let output = &signature.output;
    let build = options.build_call();
    // Everything that is not the user's is named hygienically (`mixed_site`) and from the root, so
    // that neither the user's names nor `no_implicit_prelude` can get in its way.
    quote_spanned! {Span::mixed_site()=>
        #attribute
        #(#attributes)*
        #visibility fn #name() #output {
            #signature #body

            match #build {
                ::core::result::Result::Ok(runtime) => runtime.block_on(#name()),
                ::core::result::Result::Err(error) => {
                    ::core::panic!("cannot build the Annulet runtime: {}", error)
                }
            }
        }
    }
}

/// What stays of a function that is refused: its body, so that the compiler and an editor still
/// look into it, in a form that adds no errors to ours.
fn kept(entry: Entry, function: &Function, item: TokenStream) -> TokenStream {
    if function.is_method() {
        // Only a method can stand among methods, and only there is `self` known.
        return item;
    }
    let Function {
        attributes,
        visibility,
        signature,
        body,
    } = function;
    let attributes = attributes
        .iter()
        .filter(|attribute| !attribute.path().is_ident("test"));
    let attribute = entry.attribute();
    let name = &signature.ident;
    // No return type: it may name the generics that are refused.
    quote! {
        #attribute
        #(#attributes)*
        #visibility fn #name() {
            #[allow(dead_code)]
            #signature #body
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expands_to(entry: Entry, options: TokenStream, item: TokenStream, expected: TokenStream) {
        assert_eq!(
            expand(entry, options, item).to_string(),
            expected.to_string()
        );
    }

    #[test]
    fn main_moves_into_a_function_that_builds_the_runtime() {
        expands_to(
            Entry::Main,
            quote!(entries = 1024),
            quote! {
                /// Serves.
                #[expect(clippy::unused_async)]
                pub(crate) async fn main() -> io::Result<()> { serve().await }
            },
            quote! {
                /// Serves.
                #[expect(clippy::unused_async)]
                pub(crate) fn main() -> io::Result<()> {
                    async fn main() -> io::Result<()> { serve().await }

                    match ::runtime::Builder::new().entries(1024).build() {
                        ::core::result::Result::Ok(runtime) => runtime.block_on(main()),
                        ::core::result::Result::Err(error) => {
                            ::core::panic!("cannot build the Annulet runtime: {}", error)
                        }
                    }
                }
            },
        );
    }

    #[test]
    fn test_adds_the_attribute_of_the_standard_library() {
        let expanded = expand(
            Entry::Test,
            quote!(crate = rt),
            quote!(
                #[ignore]
                async fn claim() {}
            ),
        )
        .to_string();
        let start = quote!(#[::core::prelude::v1::test] #[ignore] fn claim());
        assert!(expanded.starts_with(&start.to_string()), "{expanded}");
        assert!(expanded.contains(&quote!(match rt::Builder::new().build()).to_string()));
    }

    #[test]
    fn a_refused_function_keeps_its_body_and_builds_no_runtime() {
        let expanded = expand(
            Entry::Main,
            quote!(),
            quote!(
                async fn main<T>(x: T) -> T {
                    body(x)
                }
            ),
        )
        .to_string();
        let kept = quote! {
            fn main() {
                #[allow(dead_code)]
                async fn main<T>(x: T) -> T { body(x) }
            }
        };
        assert!(expanded.ends_with(&kept.to_string()), "{expanded}");
        assert_eq!(expanded.matches("compile_error").count(), 2);
    }

    #[test]
    fn a_refused_method_stays_a_method() {
        let item = quote!(
            pub async fn main(&self) {
                self.body()
            }
        );
        let expanded = expand(Entry::Main, quote!(), item.clone()).to_string();
        assert!(expanded.ends_with(&item.to_string()), "{expanded}");
    }

    #[test]
    fn what_is_not_a_function_stays_as_it_is() {
        let item = quote!(
            struct S;
        );
        let expanded = expand(Entry::Test, quote!(), item.clone()).to_string();
        assert!(expanded.ends_with(&item.to_string()), "{expanded}");
        assert_eq!(expanded.matches("compile_error").count(), 1);
    }

    #[test]
    fn mistakes_in_options_and_function_are_reported_together() {
        let expanded = expand(
            Entry::Main,
            quote!(entires = 1),
            quote!(
                fn main() {}
            ),
        )
        .to_string();
        assert_eq!(expanded.matches("compile_error").count(), 2, "{expanded}");
    }

    #[test]
    fn a_refused_test_is_a_test_once() {
        let expanded = expand(
            Entry::Test,
            quote!(),
            quote!(
                #[test]
                async fn t() {}
            ),
        )
        .to_string();
        assert!(!expanded.contains("# [test]"), "{expanded}");
        assert_eq!(expanded.matches(":: test]").count(), 1, "{expanded}");
    }
}
