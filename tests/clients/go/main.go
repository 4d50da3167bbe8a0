// Resolves the recipients of an invoice with generated Go stubs.
//
// Usage: go run . TARGET CUSTOMER_NUMBER (the token is in CONTACT_SERVICE_TOKEN)
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	contactv1 "contact/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Getenv("CONTACT_SERVICE_TOKEN")); err != nil {
		fmt.Fprintln(os.Stderr, describe(err))
		os.Exit(1)
	}
}

func run(target, customerNumber, token string) error {
	// Newer releases of gRPC have grpc.NewClient and insecure.NewCredentials; Debian's has neither.
	connection, err := grpc.Dial(target, grpc.WithInsecure())
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	response, err := contactv1.NewContactServiceClient(connection).ResolveRecipients(ctx,
		&contactv1.ResolveRecipientsRequest{
			CustomerNumber: customerNumber,
			Purpose:        contactv1.Purpose_PURPOSE_INVOICE,
		})
	if err != nil {
		return err
	}
	for _, recipient := range response.GetResolution().GetRecipients() {
		fmt.Printf("recipient: %s <%s>, %s\n", recipient.GetDisplayName(), recipient.GetEmail(), recipient.GetReason())
	}
	return nil
}

// describe returns an error in one line, with the reason that is known to the stubs.
func describe(err error) string {
	rejection := status.Convert(err)
	for _, detail := range rejection.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok {
			continue
		}
		reason := contactv1.ErrorReason(contactv1.ErrorReason_value["ERROR_REASON_"+info.GetReason()])
		return fmt.Sprintf("%s %s (%s): %s", screaming(rejection.Code().String()),
			strings.TrimPrefix(reason.String(), "ERROR_REASON_"), info.GetDomain(), rejection.Message())
	}
	return err.Error()
}

// screaming returns a name such as NotFound as NOT_FOUND.
func screaming(name string) string {
	var words strings.Builder
	for i, letter := range name {
		if i > 0 && letter >= 'A' && letter <= 'Z' {
			words.WriteByte('_')
		}
		words.WriteRune(letter)
	}
	return strings.ToUpper(words.String())
}
