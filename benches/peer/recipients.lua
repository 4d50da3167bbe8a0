-- Requests of wrk for the rows of random customers. Arguments: number of customers, query.
local customers, query

function init(arguments)
   customers = tonumber(arguments[1])
   query = arguments[2]
   math.randomseed(1)
   wrk.method = "POST"
   wrk.headers["content-type"] = "application/json"
end

function request()
   local number = string.format("C-%08d", math.random(0, customers - 1))
   local body = string.format('{"query":"%s","variables":{"number":"%s"}}', query, number)
   return wrk.format(nil, nil, nil, body)
end

-- Errors of the connection, and responses other than 200, which GraphQL errors are as well here.
function done(summary, latency, requests)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format(
      '{"requests_per_second":%.1f,"requests":%d,"failed":%d,"p50_us":%d,"p99_us":%d}\n',
      summary.requests / summary.duration * 1e6, summary.requests, failed,
      latency:percentile(50), latency:percentile(99)))
end
