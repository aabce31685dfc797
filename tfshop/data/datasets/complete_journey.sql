-- Promotion response on Complete Journey: exposures (household, store, week, product), one row a purchase where the
-- exposure was answered (a product bought in two baskets of the week counts twice), else one row.
-- {transactions}, {promotions}, {products}, {demographics} are files; {seed}, {fraction} are numbers.
-- Draws use integer arithmetic below 2^62 and nothing else, so that every DuckDB version and thread count draws the same.

CREATE MACRO scatter(x) AS (xor(x, x >> 15) * 1597334677) & 2147483647;

CREATE MACRO draw(x) AS scatter(scatter(CAST(x AS BIGINT) + 1013904223));

-- Lines without a positive quantity are coupons and returns, not purchases.
CREATE TABLE purchases AS
SELECT household_id, store_id, week, product_id, transaction_timestamp AS moment
FROM read_parquet({transactions})
WHERE quantity > 0 AND draw(household_id * 31 + 7) < {fraction} * 2147483648;

-- A few products are listed twice for a store and week: the later location codes win. Codes are one character, kept as
-- a byte, and numbers are narrowed, because this is by far the largest table.
CREATE TABLE promoted AS
SELECT CAST(store_id AS INTEGER) AS store_id, CAST(week AS TINYINT) AS week, CAST(product_id AS INTEGER) AS product_id,
       CAST(max(ascii(display_location)) AS TINYINT) AS display_code,
       CAST(max(ascii(mailer_location)) AS TINYINT) AS mailer_code,
       CAST(draw(product_id) AS INTEGER) AS product_draw
FROM read_parquet({promotions}) SEMI JOIN purchases USING (store_id, week)
WHERE display_location <> '0' OR mailer_location <> '0'
GROUP BY store_id, week, product_id;

CREATE TABLE positives AS
SELECT household_id, store_id, week, product_id
FROM purchases SEMI JOIN promoted USING (store_id, week, product_id);

CREATE TABLE visits AS
SELECT household_id, store_id, week, 4 * count(*) AS wanted, max(available) - count(DISTINCT product_id) AS available,
       draw(draw(draw(draw({seed} % 1000000007) + household_id) + store_id) + week) AS visit_draw
FROM positives JOIN (SELECT store_id, week, count(*) AS available FROM promoted GROUP BY ALL) USING (store_id, week)
GROUP BY household_id, store_id, week;

-- The `wanted` smallest draws of a visit. The bound keeps what can be among them (ten standard deviations of slack)
-- without sorting every promoted product of every visit.
CREATE TABLE negatives AS
SELECT household_id, store_id, week, product_id
FROM (
    SELECT household_id, store_id, week, product_id, wanted,
           scatter(scatter(xor(visit_draw, CAST(product_draw AS BIGINT)))) AS candidate_draw
    FROM visits JOIN promoted USING (store_id, week)
    WHERE candidate_draw < 2147483648 * (wanted + 10 * sqrt(wanted) + 40) / greatest(available, 1)
) ANTI JOIN positives USING (household_id, store_id, week, product_id)
QUALIFY row_number() OVER (PARTITION BY household_id, store_id, week ORDER BY candidate_draw, product_id) <= wanted;

-- A product type is remembered at the last moment it was bought: valid for the weeks after it, until bought again.
CREATE TABLE remembered AS
SELECT household_id, product_type, week AS since, moment,
       coalesce(lead(week) OVER (PARTITION BY household_id, product_type ORDER BY week), 1000) AS until
FROM (
    SELECT household_id, product_type, week, max(moment) AS moment
    FROM purchases JOIN read_parquet({products}) USING (product_id)
    WHERE product_type IS NOT NULL
    GROUP BY ALL
);

CREATE TABLE histories AS
SELECT household_id, week, list_reverse(max_by(product_type, (moment, product_type), 20)) AS hist_product_type
FROM (SELECT DISTINCT household_id, week FROM visits) AS weeks
JOIN remembered USING (household_id)
WHERE since < week AND week <= until
GROUP BY household_id, week;

-- What the household took of a product's type, whichever product it was: the step before buying this very one.
CREATE TABLE types_bought AS
SELECT DISTINCT household_id, store_id, week, product_type, true AS was_bought
FROM purchases JOIN read_parquet({products}) USING (product_id)
WHERE product_type IS NOT NULL;

CREATE TABLE exposures AS
SELECT household_id, store_id, week, product_id,
       manufacturer_id, department, brand, product_category, product_type, package_size,
       chr(display_code) AS display_location, chr(mailer_code) AS mailer_location, age, income, household_size, kids_count,
       coalesce(hist_product_type, CAST([] AS VARCHAR[])) AS hist_product_type, bought,
       CAST(bought = 1 OR coalesce(was_bought, false) AS TINYINT) AS type_bought
FROM (
    SELECT *, CAST(1 AS TINYINT) AS bought FROM positives
    UNION ALL
    SELECT *, CAST(0 AS TINYINT) AS bought FROM negatives
) AS labelled
JOIN promoted USING (store_id, week, product_id)
LEFT JOIN read_parquet({products}) USING (product_id)
LEFT JOIN types_bought USING (household_id, store_id, week, product_type)
LEFT JOIN read_parquet({demographics}) USING (household_id)
LEFT JOIN histories USING (household_id, week);
