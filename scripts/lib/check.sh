# The unattended demo: three people, a real psql each, approved at the sign-in pages as each of them. Every line that
# says `ok` is a comparison that held; the first that does not ends the run.

# as LOGIN PSQL-ARGUMENT…: runs psql and signs in as LOGIN when it is asked to. Sets `shown` (what psql printed),
# `told` (what it said on stderr) and `status`.
as() {
  local login=$1 pipe="$work/stderr.pipe" line pid
  shift
  rm -f "$pipe"
  mkfifo "$pipe"
  psql -X -w -A -t -v VERBOSITY=verbose "$@" "$(conninfo "$login")" >"$work/stdout" 2>"$pipe" </dev/null &
  pid=$!
  told=
  while IFS= read -r line; do
    told+=$line$'\n'
    if [[ $line =~ 'sign in to continue: open '([^ ]+)' and enter '([A-Z0-9-]+) ]]; then
      sign_in "$login" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    fi
  done <"$pipe"
  status=0
  wait "$pid" || status=$?
  shown=$(cat "$work/stdout")
}

# sign_in LOGIN URL CODE: what the person does in her browser
sign_in() {
  local address=$2
  [[ $address == *user_code=* ]] || address+="?user_code=$3"
  say "    the terminal says: open $2 and enter $3"
  say "    the browser says:  $(node "$root/scripts/idp/approve.mjs" "$address" "$1") (as $1)"
}

ok() { say "    ok: $*"; held=$((held + 1)); }

wrong() {
  say "    WRONG: $1"
  say "    psql ended with $status, printed:"
  printf '%s\n%s\n' "$shown" "$told" | sed 's/^/      /' >&2
  fail "the demo does not do what it says"
}

# expect WHAT ACTUAL EXPECTED
expect() { if [ "$2" = "$3" ]; then ok "$1: $3"; else wrong "$1: expected $3, got $2"; fi; }
# expect_in WHAT TEXT PART
expect_in() { if [[ $2 == *"$3"* ]]; then ok "$1: $3"; else wrong "$1: expected … $3 …"; fi; }

check_demo() {
  local binary=$1 before after who
  held=0
  who="select current_user || '|' || session_user || '|' || current_setting('application_name')"

  step "alice: engineering and on-call"
  as alice@example.com -c "$who" -c "insert into refunds (\"order\", amount, reason) values (7, 12.50, 'asked by phone')" \
    -c "select reason from refunds where \"order\" = 7"
  expect "psql ends well" "$status" 0
  expect "she is in as" "$(head -1 <<<"$shown" | cut -d'|' -f1,2)" "payments_rw|payments_rw"
  expect_in "the database's own views show" "$(head -1 <<<"$shown" | cut -d'|' -f3)" "alice@example.com"
  expect "she may write" "$(sed -n 2p <<<"$shown")" "INSERT 0 1"
  expect "and reads what she wrote" "$(sed -n 3p <<<"$shown")" "asked by phone"

  step "bob: engineering"
  as bob@example.com -c "$who" -c "select count(*) from orders" -c "delete from refunds"
  expect "he is in as" "$(head -1 <<<"$shown" | cut -d'|' -f1,2)" "payments_ro|payments_ro"
  expect "he may read" "$(sed -n 2p <<<"$shown")" 50
  expect_in "PostgreSQL refuses his write" "$told" "ERROR:  42501: permission denied for table refunds"
  expect "psql ends with" "$status" 1

  step "mallory: no group"
  as mallory@example.com -c "select 1"
  expect "psql ends with" "$status" 2
  expect_in "she is told" "$told" 'FATAL:  access to database "payments" is denied for "mallory@example.com"'
  expect_in "and what is missing" "$told" "on-call"
  expect "she saw" "$shown" ""

  check_trail "$binary"
  step "$held of $held checks held"
}

# audit ARGUMENT…: the proxy's own reader of its trail
audit() { "$binary" audit --dir "$work/audit" "$@"; }

check_trail() {
  local binary=$1 found
  told=
  step "the audit trail"
  status=0
  shown=$(audit verify) || status=$?
  expect "verify ends with" "$status" 0
  say "$(sed 's/^/    /' <<<"$shown")"
  for found in "alice@example.com:insert into refunds" "bob@example.com:delete from refunds"; do
    shown=$(audit search --person "${found%%:*}" --kind statement --json "${found#*:}")
    expect "records of ${found%%:*} with \"${found#*:}\"" "$(grep -c . <<<"$shown")" 1
  done
  shown=$(audit search --person mallory@example.com --kind statement --json)
  expect "statements of mallory" "$shown" ""
  shown=$(audit search --person mallory@example.com --kind connect --json)
  expect_in "her denial is on record" "$shown" '"effect":"forbid"'
  audit search --kind statement >&2
}
