-- DDSketch helpers. A sketch is Map(Int16, UInt32), keys ascending: key = sign(v) * (ceil(log_gamma |v|) + 4096) with
-- gamma = 1.01 / 0.99, and 0 for |v| < 1e-9: every value is known to 1 %, and sketches merge exactly by sumMap.

-- The bucket key of a value.
CREATE FUNCTION IF NOT EXISTS sk_key AS v ->
    toInt16(if(abs(v) < 1e-9, 0, sign(v) * (ceil(log(abs(v)) / log(1.01 / 0.99)) + 4096)));

-- The value that stands for a key: within 1 % of everything in its bucket.
CREATE FUNCTION IF NOT EXISTS sk_val AS k ->
    if(k = 0, 0., sign(k) * 2 * pow(1.01 / 0.99, abs(k) - 4096) / (1.01 / 0.99 + 1));

-- The q-quantile (rank rule inverted_cdf), NaN of an empty sketch.
CREATE FUNCTION IF NOT EXISTS sk_quantile AS (m, q) ->
    if(empty(m), nan, sk_val(mapKeys(m)[arrayFirstIndex(c -> c >= q * arraySum(mapValues(m)), arrayCumSum(mapValues(m)))]));

-- The fraction of values at or below x, NaN of an empty sketch.
CREATE FUNCTION IF NOT EXISTS sk_le AS (m, x) ->
    arraySum((k, c) -> if(sk_val(k) <= x, c, 0), mapKeys(m), mapValues(m)) / arraySum(mapValues(m));
