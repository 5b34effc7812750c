/* The program that runs, as a file, and how it begins anew. */
#ifndef SP_POSIX_PROGRAM_H_INCLUDED
#define SP_POSIX_PROGRAM_H_INCLUDED

/* argv: main's; kept for program_restart. */
void program_init(char **argv);

/* Run the program's file with the same arguments in the place of this one, with no files open but the first three.
 * Returns where that fails. */
void program_restart(void);

#endif
