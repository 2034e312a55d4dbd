//! Reads the function under the attribute, and says what is wrong with it.
//!
//! Only the signature is parsed. The body is carried along as it came: it costs nothing, takes
//! syntax this crate has not heard of, and keeps half-typed code alive in an editor.

use proc_macro2::{Group, TokenStream};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, FnArg, Ident, Signature, Token, Visibility};

use crate::expand::Entry;

pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
}

impl Function {
    /// Reads one function, and nothing else.
    pub(crate) fn read(entry: Entry, item: TokenStream) -> syn::Result<Self> {
        let read = |input: ParseStream<'_>| {
            let attributes = input.call(Attribute::parse_outer)?;
            let visibility = Visibility::parse(input)?;
            expect_function(entry, input)?;
            let signature = Signature::parse(input)?;
            if input.peek(Token![;]) {
                return Err(input.error(format!("{entry} needs a function with a body")));
            }
            let body = input.parse()?;
            Ok(Self {
                attributes,
                visibility,
                signature,
                body,
            })
        };
        syn::parse::Parser::parse2(read, item)
    }

    /// Whether this is a method, in whose place only another method can stand.
    pub(crate) fn is_method(&self) -> bool {
        self.signature.receiver().is_some()
    }

    /// Adds all that keeps this function from being an entry to `errors`.
    pub(crate) fn check(&self, entry: Entry, errors: &mut Vec<Error>) {
        self.check_qualifiers(entry, errors);
        self.check_generics(entry, errors);
        self.check_arguments(entry, errors);
        if entry == Entry::Test {
            self.check_attributes(errors);
        }
    }

    fn check_qualifiers(&self, entry: Entry, errors: &mut Vec<Error>) {
        let signature = &self.signature;
        if signature.asyncness.is_none() {
            let name = &signature.ident;
            errors.push(Error::new(
                signature.fn_token.span,
                format!("{entry} needs an `async fn`: write `async fn {name}`"),
            ));
        }
        let refused = [
            signature.constness.to_token_stream(),
            signature.safety.to_token_stream(),
            signature.abi.to_token_stream(),
        ];
        for qualifier in refused {
            if !qualifier.is_empty() {
                let message = format!("the function of {entry} cannot be `{qualifier}`");
                errors.push(Error::new_spanned(qualifier, message));
            }
        }
    }

    fn check_generics(&self, entry: Entry, errors: &mut Vec<Error>) {
        let generics = &self.signature.generics;
        if !generics.params.is_empty() {
            errors.push(Error::new_spanned(
                &generics.params,
                format!(
                    "the function of {entry} takes no generic parameters: nothing would choose them"
                ),
            ));
        } else if let Some(clause) = &generics.where_clause {
            let message = format!("the function of {entry} takes no `where` clause");
            errors.push(Error::new_spanned(clause, message));
        }
    }

    fn check_arguments(&self, entry: Entry, errors: &mut Vec<Error>) {
        let signature = &self.signature;
        if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
            errors.push(Error::new_spanned(
                receiver,
                format!("{entry} needs a function without `self`: move it out of the `impl`"),
            ));
        } else if !signature.inputs.is_empty() || signature.variadic.is_some() {
            let advice = match entry {
                Entry::Main => "the command line is in `std::env::args()`",
                Entry::Test => "nothing would pass them",
            };
            let inputs = &signature.inputs;
            let variadic = &signature.variadic;
            errors.push(Error::new_spanned(
                quote::quote!(#inputs #variadic),
                format!("the function of {entry} takes no arguments: {advice}"),
            ));
        }
    }

    fn check_attributes(&self, errors: &mut Vec<Error>) {
        for attribute in self
            .attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("test"))
        {
            errors.push(Error::new_spanned(
                attribute,
                "remove `#[test]`: `#[runtime::test]` adds it, and the test would run twice",
            ));
        }
    }
}

/// Says so if what follows is not a function; a function with a mistake in it is for the parser.
fn expect_function(entry: Entry, input: ParseStream<'_>) -> syn::Result<()> {
    let ahead = input.fork();
    loop {
        if ahead.peek(Token![fn]) {
            return Ok(());
        } else if ahead.peek(Token![extern]) {
            ahead.parse::<syn::Abi>()?;
        } else if ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
        {
            ahead.call(Ident::parse_any)?;
        } else {
            break;
        }
    }
    let found = match input.fork().call(Ident::parse_any) {
        Ok(word) => format!(", not on `{word}`"),
        Err(_) => String::new(),
    };
    Err(input.error(format!("{entry} belongs on an `async fn`{found}")))
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn errors(entry: Entry, item: TokenStream) -> Vec<String> {
        let mut errors = Vec::new();
        match Function::read(entry, item) {
            Ok(function) => function.check(entry, &mut errors),
            Err(error) => errors.push(error),
        }
        errors.iter().map(Error::to_string).collect()
    }

    #[track_caller]
    fn accepted(entry: Entry, item: TokenStream) {
        assert_eq!(errors(entry, item), [""; 0]);
    }

    #[track_caller]
    fn refused(entry: Entry, item: TokenStream, expected: &[&str]) {
        assert_eq!(errors(entry, item), expected);
    }

    #[test]
    fn an_async_fn_without_arguments_is_accepted() {
        accepted(
            Entry::Main,
            quote!(
                async fn main() {}
            ),
        );
        accepted(
            Entry::Main,
            quote!(
                #[allow(x)]
                pub(crate) async fn run() -> io::Result<()> {
                    f()?
                }
            ),
        );
        accepted(
            Entry::Test,
            quote!(
                #[should_panic]
                #[ignore = "y"]
                async fn t() -> impl X {}
            ),
        );
    }

    #[test]
    fn the_body_need_not_parse() {
        accepted(Entry::Main, quote!(async fn main() { let x = stream. ; }));
    }

    #[test]
    fn a_blocking_fn_is_refused_with_what_to_write() {
        refused(
            Entry::Main,
            quote!(
                fn main() {}
            ),
            &["`#[runtime::main]` needs an `async fn`: write `async fn main`"],
        );
        refused(
            Entry::Test,
            quote!(
                fn claim() {}
            ),
            &["`#[runtime::test]` needs an `async fn`: write `async fn claim`"],
        );
    }

    #[test]
    fn unsafe_and_extern_functions_are_refused() {
        refused(
            Entry::Main,
            quote!(
                async unsafe extern "C" fn main() {}
            ),
            &[
                "the function of `#[runtime::main]` cannot be `unsafe`",
                "the function of `#[runtime::main]` cannot be `extern \"C\"`",
            ],
        );
    }

    #[test]
    fn arguments_are_refused() {
        refused(
            Entry::Main,
            quote!(
                async fn main(args: Vec<String>, more: u8) {}
            ),
            &["the function of `#[runtime::main]` takes no arguments: \
                the command line is in `std::env::args()`"],
        );
        refused(
            Entry::Test,
            quote!(
                async fn claim(x: u8) {}
            ),
            &["the function of `#[runtime::test]` takes no arguments: nothing would pass them"],
        );
    }

    #[test]
    fn methods_are_refused() {
        for receiver in [
            quote!(self),
            quote!(&self),
            quote!(&mut self),
            quote!(self: Rc<Self>),
        ] {
            refused(
                Entry::Main,
                quote!(async fn main(#receiver, x: u8) {}),
                &["`#[runtime::main]` needs a function without `self`: move it out of the `impl`"],
            );
        }
    }

    #[test]
    fn generics_are_refused_once() {
        refused(
            Entry::Main,
            quote!(
                async fn main<'a, T>()
                where
                    T: X,
                {
                }
            ),
            &[
                "the function of `#[runtime::main]` takes no generic parameters: \
                nothing would choose them",
            ],
        );
        refused(
            Entry::Test,
            quote!(
                async fn claim()
                where
                    u8: Copy,
                {
                }
            ),
            &["the function of `#[runtime::test]` takes no `where` clause"],
        );
    }

    #[test]
    fn a_second_test_attribute_is_refused() {
        refused(
            Entry::Test,
            quote!(
                #[test]
                async fn claim() {}
            ),
            &["remove `#[test]`: `#[runtime::test]` adds it, and the test would run twice"],
        );
    }

    #[test]
    fn what_is_not_a_function_is_refused_by_name() {
        for (item, word) in [
            (
                quote!(
                    struct S;
                ),
                "struct",
            ),
            (
                quote!(
                    pub enum E {}
                ),
                "enum",
            ),
            (
                quote!(
                    #[doc = "x"]
                    mod m {}
                ),
                "mod",
            ),
            (quote!(impl S {}), "impl"),
            (
                quote!(
                    unsafe impl S for T {}
                ),
                "unsafe",
            ),
            (
                quote!(
                    const X: u8 = 1;
                ),
                "const",
            ),
            (
                quote!(
                    extern "C" {}
                ),
                "extern",
            ),
        ] {
            let message = format!("`#[runtime::main]` belongs on an `async fn`, not on `{word}`");
            refused(Entry::Main, item, &[&message]);
        }
    }

    #[test]
    fn a_function_without_body_is_refused() {
        refused(
            Entry::Main,
            quote!(
                async fn main();
            ),
            &["`#[runtime::main]` needs a function with a body"],
        );
    }

    #[test]
    fn every_mistake_is_reported_not_only_the_first() {
        let found = errors(
            Entry::Main,
            quote!(
                unsafe fn main<T>(x: T) {}
            ),
        );
        assert_eq!(found.len(), 4, "{found:#?}");
    }
}
