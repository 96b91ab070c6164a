module github.com/expensevault/sharedlibrary/messaging/embedded

go 1.26.0

require github.com/expensevault/sharedlibrary v0.0.0-00010101000000-000000000000

replace github.com/expensevault/sharedlibrary => ../..
