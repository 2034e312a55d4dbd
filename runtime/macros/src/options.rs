//! Reads the options: `entries = 1024, crate = rt`.
//!
//! All mistakes are reported, not only the first: after one, reading goes on behind the next comma.
//! Whether a value has the right type is for the compiler to say, which points at the value.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Expr, Path, Token};

/// An option's name, and one way to write it.
struct Known {
    name: &'static str,
    example: &'static str,
}

const KNOWN: [Known; 20] = [
    Known {
        name: "entries",
        example: "entries = 1024",
    },
    Known {
        name: "completions",
        example: "completions = 4096",
    },
    Known {
        name: "budget",
        example: "budget = 64",
    },
    Known {
        name: "timer_slack",
        example: "timer_slack = Duration::from_millis(1)",
    },
    Known {
        name: "sqpoll",
        example: "sqpoll = Duration::from_millis(50)",
    },
    Known {
        name: "attempts",
        example: "attempts = false",
    },
    Known {
        name: "chunk_size",
        example: "chunk_size = 4096",
    },
    Known {
        name: "chunk_limit",
        example: "chunk_limit = 1024",
    },
    Known {
        name: "provided_buffers",
        example: "provided_buffers = false",
    },
    Known {
        name: "incremental",
        example: "incremental = true",
    },
    Known {
        name: "zero_copy",
        example: "zero_copy = Some(16 * 1024)",
    },
    Known {
        name: "fixed_buffers",
        example: "fixed_buffers = false",
    },
    Known {
        name: "fixed_files",
        example: "fixed_files = false",
    },
    Known {
        name: "shutdown_timeout",
        example: "shutdown_timeout = Duration::from_secs(1)",
    },
    Known {
        name: "thread_name",
        example: "thread_name = \"worker\"",
    },
    Known {
        name: "embedded",
        example: "embedded = true",
    },
    Known {
        name: "plain",
        example: "plain = true",
    },
    Known {
        name: "without",
        example: "without = [40]",
    },
    Known {
        name: DRIVER,
        example: "driver = \"poll\"",
    },
    Known {
        name: CRATE,
        example: "crate = annulet",
    },
];

const CRATE: &str = "crate";
const DRIVER: &str = "driver";

/// An option that calls the builder's method of its name.
struct Call {
    name: Ident,
    value: Value,
}

enum Value {
    Written(Expr),
    /// The name of a `DriverKind`, which is found where the facade is.
    Kind(Ident),
}

/// What the parentheses said.
#[derive(Default)]
pub(crate) struct Options {
    /// Where the facade is, if not at `::runtime`.
    facade: Option<Path>,
    /// The calls on the builder, `.entries(1024)`, in the order they were written.
    calls: Vec<Call>,
    seen: Vec<Ident>,
}

impl Options {
    /// Reads all options. What is wrong is added to `errors`.
    pub(crate) fn read(tokens: TokenStream, errors: &mut Vec<Error>) -> Self {
        let mut options = Self::default();
        let reader = |input: ParseStream<'_>| {
            while !input.is_empty() {
                if let Err(error) = options.read_one(input) {
                    errors.push(error);
                    skip_to_comma(input)?;
                }
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        };
        if let Err(error) = reader.parse2(tokens) {
            errors.push(error);
        }
        options
    }

    /// The expression that builds the runtime.
    pub(crate) fn build_call(&self) -> TokenStream {
        // The default is named with the place of the attribute, where rustc then reports a facade
        // that is not a dependency.
        let facade = match &self.facade {
            Some(path) => quote!(#path),
            None => quote_spanned!(Span::mixed_site()=> ::runtime),
        };
        // A call carries the place of its name, so that a mistyped value is reported there and at
        // the value, not at the whole attribute.
        let calls = self.calls.iter().map(|Call { name, value }| match value {
            Value::Written(value) => quote_spanned!(name.span()=> .#name(#value)),
            Value::Kind(kind) => quote_spanned!(name.span()=> .#name(#facade::DriverKind::#kind)),
        });
        quote_spanned!(Span::mixed_site()=> #facade::Builder::new() #(#calls)* .build())
    }

    fn read_one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error(format!(
                "expected an option, such as `{}`; {}",
                KNOWN[0].example,
                all_names()
            )));
        }
        let name = input.call(Ident::parse_any)?;
        let known = find(&name)?;
        if self.seen.contains(&name) {
            return Err(Error::new(name.span(), format!("`{name}` is given twice")));
        }
        self.seen.push(name.clone());
        read_equals(input, &name, known)?;

        if known.name == CRATE {
            self.facade = Some(read_path(input, known)?);
        } else {
            let value = if known.name == DRIVER && input.peek(syn::LitStr) {
                Value::Kind(read_kind(input)?)
            } else {
                Value::Written(input.parse()?)
            };
            self.calls.push(Call { name, value });
        }
        if input.is_empty() || input.peek(Token![,]) {
            Ok(())
        } else {
            Err(input.error("expected `,` before the next option"))
        }
    }
}

fn find(name: &Ident) -> syn::Result<&'static Known> {
    let text = name.to_string();
    if let Some(known) = KNOWN.iter().find(|known| known.name == text) {
        return Ok(known);
    }
    let advice = match text.as_str() {
        // Whoever comes from a runtime with a pool of threads looks for these first.
        "flavor" | "worker_threads" => {
            "; a runtime is always one thread, so leave it out".to_owned()
        }
        _ => match nearest(&text) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => String::new(),
        },
    };
    Err(Error::new(
        name.span(),
        format!("unknown option `{text}`{advice}\n{}", all_names()),
    ))
}

fn read_equals(input: ParseStream<'_>, name: &Ident, known: &Known) -> syn::Result<()> {
    let missing = || {
        Error::new(
            name.span(),
            format!("`{name}` needs a value: `{}`", known.example),
        )
    };
    if !input.peek(Token![=]) {
        return Err(missing());
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        return Err(missing());
    }
    Ok(())
}

fn read_path(input: ParseStream<'_>, known: &Known) -> syn::Result<Path> {
    if input.peek(syn::LitStr) {
        return Err(input.error(format!(
            "`crate` takes a path without quotes, such as `{}`",
            known.example
        )));
    }
    input.call(Path::parse_mod_style)
}

fn read_kind(input: ParseStream<'_>) -> syn::Result<Ident> {
    let said: syn::LitStr = input.parse()?;
    let kind = match said.value().as_str() {
        "auto" => "Auto",
        "kernel" => "Kernel",
        "poll" => "Poll",
        other => {
            return Err(Error::new(
                said.span(),
                format!("there is no ring {other:?}: it can be \"auto\", \"kernel\" or \"poll\""),
            ));
        }
    };
    Ok(Ident::new(kind, said.span()))
}

fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn all_names() -> String {
    let names: Vec<_> = KNOWN
        .iter()
        .map(|known| format!("`{}`", known.name))
        .collect();
    format!("the options are {}", names.join(", "))
}

/// The option whose name is at most a third of its letters away from `text`.
fn nearest(text: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .map(|known| (distance(text, known.name), known.name))
        .filter(|(distance, name)| distance * 3 <= name.len())
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be added, removed, replaced or swapped with their neighbour to get from
/// one word to the other (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for row in 1..=from.len() {
        let mut current = vec![row];
        for column in 1..=to.len() {
            let replaced = last[column - 1] + usize::from(from[row - 1] != to[column - 1]);
            let mut best = replaced.min(last[column] + 1).min(current[column - 1] + 1);
            let swapped = row > 1
                && column > 1
                && from[row - 1] == to[column - 2]
                && from[row - 2] == to[column - 1];
            if swapped {
                best = best.min(before_last[column - 2] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tokens: TokenStream) -> Result<String, Vec<String>> {
        let mut errors = Vec::new();
        let options = Options::read(tokens, &mut errors);
        if errors.is_empty() {
            Ok(options.build_call().to_string())
        } else {
            Err(errors.iter().map(Error::to_string).collect())
        }
    }

    #[track_caller]
    fn reads_as(tokens: TokenStream, expected: TokenStream) {
        assert_eq!(read(tokens), Ok(expected.to_string()));
    }

    #[track_caller]
    fn refused(tokens: TokenStream, expected: &[&str]) {
        let errors = read(tokens).expect_err("the options are wrong");
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(
                error.contains(expected),
                "{error:?} does not say {expected:?}"
            );
        }
    }

    #[test]
    fn without_options_the_builder_keeps_its_defaults() {
        reads_as(quote!(), quote!(::runtime::Builder::new().build()));
    }

    #[test]
    fn every_option_calls_the_method_of_its_name_in_the_order_written() {
        reads_as(
            quote! {
                thread_name = "ring", entries = 8, completions = 2 * 8, budget = BUDGET,
                sqpoll = Duration::from_millis(f::<A, B>(1, 2)),
            },
            quote! {
                ::runtime::Builder::new()
                    .thread_name("ring")
                    .entries(8)
                    .completions(2 * 8)
                    .budget(BUDGET)
                    .sqpoll(Duration::from_millis(f::<A, B>(1, 2)))
                    .build()
            },
        );
    }

    #[test]
    fn every_method_that_sets_an_option_of_the_builder_is_an_option_here() {
        let builder = include_str!("../../src/builder.rs");
        let methods = builder.lines().filter_map(|line| {
            let (name, arguments) = line.strip_prefix("    pub fn ")?.split_once('(')?;
            arguments.starts_with("mut self, ").then_some(name)
        });
        let mut methods: Vec<&str> = methods.collect();
        let mut known: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        known.retain(|&name| name != CRATE);
        methods.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, methods);
    }

    #[test]
    fn every_example_is_read_as_a_call_with_a_value() {
        for Known { name, example } in KNOWN.iter().filter(|known| known.name != CRATE) {
            let read = read(example.parse().unwrap()).unwrap();
            assert!(read.contains(&format!(". {name} (")), "{read}");
        }
    }

    #[test]
    fn crate_moves_the_facade_and_calls_nothing() {
        reads_as(quote!(crate = rt), quote!(rt::Builder::new().build()));
        reads_as(
            quote!(crate = ::a::b),
            quote!(::a::b::Builder::new().build()),
        );
        reads_as(
            quote!(entries = 1, crate = crate),
            quote!(crate::Builder::new().entries(1).build()),
        );
    }

    #[test]
    fn a_driver_is_chosen_by_its_name_or_by_an_expression() {
        for (name, kind) in [("auto", "Auto"), ("kernel", "Kernel"), ("poll", "Poll")] {
            let kind = Ident::new(kind, Span::call_site());
            reads_as(
                quote!(driver = #name, crate = rt),
                quote!(rt::Builder::new().driver(rt::DriverKind::#kind).build()),
            );
        }
        reads_as(
            quote!(driver = chosen()),
            quote!(::runtime::Builder::new().driver(chosen()).build()),
        );
        refused(
            quote!(driver = "epoll", entries = 8),
            &["there is no ring \"epoll\": it can be \"auto\", \"kernel\" or \"poll\""],
        );
        refused(quote!(drivr = "poll"), &["did you mean `driver`?"]);
    }

    #[test]
    fn a_misspelt_option_is_answered_with_the_nearest_and_with_all() {
        refused(
            quote!(entires = 8),
            &["unknown option `entires`; did you mean `entries`?"],
        );
        refused(quote!(completion = 8), &["did you mean `completions`?"]);
        refused(quote!(sq_poll = x), &["did you mean `sqpoll`?"]);
        refused(
            quote!(colour = 1),
            &["unknown option `colour`\nthe options are `entries`, `completions`, "],
        );
    }

    #[test]
    fn options_of_runtimes_with_a_thread_pool_are_answered_by_name() {
        refused(
            quote!(flavor = "multi_thread"),
            &["a runtime is always one thread"],
        );
        refused(
            quote!(worker_threads = 4),
            &["a runtime is always one thread"],
        );
    }

    #[test]
    fn an_option_given_twice_is_refused() {
        refused(
            quote!(entries = 1, budget = 2, entries = 3),
            &["`entries` is given twice"],
        );
        refused(quote!(crate = a, crate = b), &["`crate` is given twice"]);
    }

    #[test]
    fn an_option_without_value_is_answered_with_an_example() {
        refused(
            quote!(entries),
            &["`entries` needs a value: `entries = 1024`"],
        );
        refused(
            quote!(entries =),
            &["`entries` needs a value: `entries = 1024`"],
        );
        refused(
            quote!(entries(8)),
            &["`entries` needs a value: `entries = 1024`"],
        );
        refused(
            quote!(sqpoll, budget = 8),
            &["`sqpoll = Duration::from_millis(50)`"],
        );
        refused(quote!(crate), &["`crate` needs a value: `crate = annulet`"]);
    }

    #[test]
    fn a_value_without_option_is_refused() {
        refused(
            quote!(1024),
            &["expected an option, such as `entries = 1024`"],
        );
        refused(quote!(, entries = 8), &["expected an option"]);
    }

    #[test]
    fn two_options_without_a_comma_are_refused() {
        refused(quote!(entries = 1 budget = 2), &["expected `,`"]);
    }

    #[test]
    fn crate_in_quotes_is_refused() {
        refused(
            quote!(crate = "rt"),
            &["`crate` takes a path without quotes"],
        );
    }

    #[test]
    fn every_mistake_is_reported_not_only_the_first() {
        refused(
            quote!(entires = 1, budget, 7, entries = 2, entries = 3),
            &[
                "`entires`",
                "`budget` needs",
                "expected an option",
                "`entries` is given twice",
            ],
        );
    }

    #[test]
    fn distance_counts_letters_added_removed_replaced_and_swapped() {
        assert_eq!(distance("budget", "budget"), 0);
        assert_eq!(distance("buget", "budget"), 1);
        assert_eq!(distance("budgets", "budget"), 1);
        assert_eq!(distance("badget", "budget"), 1);
        assert_eq!(distance("bugdet", "budget"), 1);
        assert_eq!(distance("", "budget"), 6);
        assert_eq!(distance("budget", ""), 6);
    }
}
