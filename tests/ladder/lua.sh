# RUNG: packages="lua5.4 dash"
lua5.4 - <<'END' 2>&1
print(_VERSION)
local t = {}
for i = 1, 200000 do t[i] = ("%d"):format(i * 7 % 1000) end
table.sort(t)
print(#t, t[1], t[#t])
local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i * i) end end)
print(co(), co(), co())
local f = assert(io.open("/tmp/lua.txt", "w+"))
f:write(("line\n"):rep(1000)); f:seek("set"); local n = 0
for _ in f:lines() do n = n + 1 end
f:close(); print(n, os.remove("/tmp/lua.txt"), io.open("/tmp/lua.txt"))
print(pcall(error, {}) == false, select(2, pcall(error, "x", 0)))
local p = io.popen("echo from a pipe; exit 3"); print(p:read("a"), p:close())
print(os.getenv("HOME"), os.time{year=2020, month=1, day=1, hour=0})
collectgarbage(); print(collectgarbage("count") < 20000)
print(utf8.char(0x20AC), string.pack("<i4", 258):byte(1, 4))
END
