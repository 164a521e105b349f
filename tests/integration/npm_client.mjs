// What users of @clickhouse/client do, against the server at process.argv[2]; prints one JSON object: what each step gave.
import { Readable } from 'stream'
import { createClient } from '@clickhouse/client'

const [url, password] = process.argv.slice(2)
const login = { url, username: 'writer', password, database: 'npm_client' }
const client = createClient({ ...login, compression: { request: true, response: true } })
const ask = async (query, options = {}, by = client) =>
  (await by.query({ query, format: 'JSONEachRow', ...options })).json()
const refusal = async (promise) => promise.then(() => null, (error) => ({ code: error.code, type: error.type }))
const count = async (query, format, settings = {}) => {
  let rows = 0
  const answer = await client.query({ query, format, clickhouse_settings: settings })
  for await (const piece of answer.stream()) rows += piece.length
  return rows
}
const seen = {}

seen.ping = (await client.ping()).success
await client.command({ query: 'CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a' })
seen.insert = (await client.insert({ table: 't', values: [{ a: 1, b: 'x' }, { a: 2, b: "it's" }], format: 'JSONEachRow' })).summary
await client.insert({ table: 't', values: Readable.from([[3, 'z'], [4, 'w']]), format: 'JSONCompactEachRow' })
await client.insert({ table: 't', values: Readable.from(['5,q\n', '6,r\n'], { objectMode: false }), format: 'CSV' })
seen.rows = await ask('SELECT * FROM t ORDER BY a')
seen.json = await (await client.query({ query: 'SELECT 1 AS n', format: 'JSON' })).json()
seen.parameters = await ask('SELECT {n:UInt32} AS n, {s:String} AS s, {a:Array(Int32)} AS a', {
  query_params: { n: 5, s: "it's\n\\ a\ttab", a: [1, 2] },
})
seen.setting = await ask("SELECT getSetting('max_block_size') AS v", { clickhouse_settings: { max_block_size: '123' } })
seen.stream = await count('SELECT number FROM numbers(300000)', 'JSONEachRow')
seen.csv = await count('SELECT number FROM numbers(300000)', 'CSV')
seen.unknown = await refusal(ask('SELECT * FROM nope'))
seen.late = await refusal(
  count('SELECT sleepEachRow(0.002), throwIf(number = 100) FROM numbers(200)', 'JSONEachRow', { max_block_size: 1 }),
)
const abort = new AbortController()
const endless = ask('SELECT sum(sipHash64(number)) FROM numbers(1000000000000)', { abort_signal: abort.signal, query_id: 'aborted' })
const aborted = endless.then(() => 'answered', () => 'given up')
while (!(await ask("SELECT 1 FROM system.processes WHERE startsWith(Settings['log_comment'], 'aborted')")).length);
abort.abort()
seen.aborted = await aborted
while ((await ask("SELECT 1 FROM system.processes WHERE startsWith(Settings['log_comment'], 'aborted')")).length);
const session = createClient({ ...login, session_id: 'npm', max_open_connections: 1 })
await session.command({ query: 'CREATE TEMPORARY TABLE own (a Int8)' })
seen.session = await ask('SELECT count() AS n FROM own', {}, session)
const exec = await client.exec({ query: 'SELECT 1 AS a FORMAT CSVWithNames' })
seen.exec = ''
for await (const piece of exec.stream) seen.exec += piece
await session.close()
await client.close()
console.log(JSON.stringify(seen))
